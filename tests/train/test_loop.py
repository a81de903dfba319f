"""Hooks in their order and at their periods, and a stop that finishes the step and misses no last hook."""

import signal
import threading
from dataclasses import replace

import pytest
import torch

from ensue.train.loop import Hook, Stop, run_steps, stop_on_signals
from ensue.train.schedule import Schedule


@pytest.fixture
def engine(make_engine):
    return make_engine(schedule=Schedule("constant", warmup=0, steps=6))


class Record:
    """Hooks that write down when they were called, after which step."""

    def __init__(self):
        self.calls = []

    def hook(self, name, every, *, at_end=False, then=None):
        def call(step):
            self.calls.append(f"{name}{step.index}")
            if then is not None:
                then(step)

        return Hook(every, call, at_end=at_end)


def run(engine, hooks, *, start=0, stop=None):
    return [step.index for step in run_steps(engine, start=start, hooks=hooks, stop=stop or Stop())]


def test_hooks_come_in_the_order_given_at_their_periods(engine):
    record = Record()
    hooks = [record.hook("log", 1), record.hook("save", 4, at_end=True), record.hook("eval", 2), record.hook("off", 0)]
    assert run(engine, hooks) == [1, 2, 3, 4, 5, 6]
    assert record.calls == ["log1", "log2", "eval2", "log3", "log4", "save4", "eval4", "log5", "log6", "save6", "eval6"]


def test_a_last_step_that_is_also_due_is_called_once(engine):
    record = Record()
    run(engine, [record.hook("save", 3, at_end=True), record.hook("end", 0, at_end=True)])
    assert record.calls == ["save3", "save6", "end6"]


def test_hooks_were_called_when_a_step_is_yielded(engine):
    record = Record()
    for step in run_steps(engine, start=0, hooks=[record.hook("log", 1)], stop=Stop()):
        assert record.calls[-1] == f"log{step.index}"


def test_a_run_continues_at_its_start_and_is_done_at_its_end(engine):
    record = Record()
    assert run(engine, [record.hook("log", 4)], start=3) == [4, 5, 6]
    assert record.calls == ["log4"]
    assert run(engine, [record.hook("log", 1)], start=6) == []


@pytest.mark.parametrize(("steps", "last"), [(4, 4), (3, 3), (9, 9)])
def test_a_hook_may_move_the_end(engine, steps, last):
    """Even to the very step it is called after: the hooks behind it see that this is the last one."""

    def fit(step):
        if step.index == 3:
            engine.schedule = replace(engine.schedule, steps=steps)

    record = Record()
    assert run(engine, [record.hook("fit", 1, then=fit), record.hook("save", 0, at_end=True)])[-1] == last
    assert record.calls[-1] == f"save{last}"
    assert sum(call.startswith("save") for call in record.calls) == 1


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_in_the_middle_of_a_step_finishes_it_and_calls_the_last_hooks(
    make_engine, make_stream, signal_self, number
):
    undisturbed = make_engine()
    for index in range(3):
        undisturbed.step(index)
    engine = make_engine(stream=make_stream(before=lambda step: signal_self(number) if step == 2 else None))
    record = Record()
    with stop_on_signals() as stop:
        done = run(engine, [record.hook("log", 1), record.hook("save", 100, at_end=True)], stop=stop)
    assert done == [1, 2, 3]
    assert record.calls == ["log1", "log2", "log3", "save3"]
    assert stop.reason == number.name
    for one, other in zip(engine.model.parameters(), undisturbed.model.parameters(), strict=True):
        assert torch.equal(one, other), "the step it came in was a whole one"


@pytest.mark.parametrize("place", ["first hook", "last hook", "body"])
def test_a_signal_after_hooks_were_passed_over_still_gets_them_called(engine, signal_self, place):
    """It must not end a run between a step and the save that was skipped as not yet due."""
    record = Record()

    def send(step):
        if step.index == 2:
            signal_self(signal.SIGTERM)

    hooks = [
        record.hook("a", 1, then=send if place == "first hook" else None),
        record.hook("save", 0, at_end=True),
        record.hook("z", 1, then=send if place == "last hook" else None),
    ]
    with stop_on_signals() as stop:
        for step in run_steps(engine, start=0, hooks=hooks, stop=stop):
            if place == "body":
                send(step)
    assert record.calls == ["a1", "z1", "a2", "z2", "a3", "save3", "z3"]


def test_a_second_signal_interrupts_at_once(make_engine, make_stream, signal_self):
    def twice(step):
        if step == 1:
            signal_self(signal.SIGTERM)
            signal_self(signal.SIGINT)

    engine = make_engine(stream=make_stream(before=twice))
    record = Record()
    with pytest.raises(KeyboardInterrupt), stop_on_signals() as stop:
        run(engine, [record.hook("log", 1, at_end=True)], stop=stop)
    assert stop.reason == "SIGTERM"
    assert record.calls == ["log1"]


@pytest.mark.parametrize("error", [None, ValueError, KeyboardInterrupt])
def test_the_handlers_that_were_come_back(error):
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    try:
        with stop_on_signals():
            assert signal.getsignal(signal.SIGTERM) not in before
            assert signal.getsignal(signal.SIGINT) not in before
            if error is not None:
                raise error
    except (ValueError, KeyboardInterrupt) as caught:
        assert type(caught) is error  # noqa: PT017 (a KeyboardInterrupt is one of the cases)
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before


def test_outside_the_main_thread_a_caller_can_still_stop(engine):
    seen = []

    def work():
        with stop_on_signals() as stop:
            hook = Hook(1, lambda step: setattr(stop, "reason", "enough") if step.index == 2 else None)
            seen.extend(run(engine, [hook], stop=stop))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [1, 2, 3]
