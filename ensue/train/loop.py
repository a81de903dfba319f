"""Steps one after another, hooks with a period in a fixed order, and a stop that finishes the step first."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType

from ensue.train.engine import Engine, Step


@dataclass(frozen=True)
class Hook:
    """Called with every `every`-th step, and with the last one of the run however it ends if `at_end`."""

    every: int
    call: Callable[[Step], None]
    at_end: bool = False

    def due(self, step: int, *, last: bool) -> bool:
        return (self.every > 0 and step % self.every == 0) or (last and self.at_end)


@dataclass
class Stop:
    """Set when the run should end after the step it is in; `reason` is what is told to the user."""

    reason: str | None = None


def run_steps(engine: Engine, *, start: int, hooks: Sequence[Hook], stop: Stop) -> Iterator[Step]:
    """Yield every step from `start` to the schedule's end, its hooks already called in the order given.

    The end is looked up anew before each hook, since one may replace the schedule. A stop that is asked for while hooks
    run, some of them already passed over, waits for the next step, so that no hook is missed at the end.
    """
    index = start
    while index < engine.schedule.steps:
        step = engine.step(index)
        index += 1
        stopping = stop.reason is not None
        for hook in hooks:
            if hook.due(index, last=stopping or index >= engine.schedule.steps):
                hook.call(step)
        yield step
        if stopping:
            return


@contextmanager
def stop_on_signals() -> Iterator[Stop]:
    """Turn Ctrl-C and SIGTERM into a stop after the current step; a second one interrupts at once.

    Outside the main thread, where Python allows no signal handlers, the stop is only ever set by the caller.
    """
    stop = Stop()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return

    def ask(number: int, _frame: FrameType | None) -> None:
        if stop.reason is not None:
            raise KeyboardInterrupt
        stop.reason = signal.Signals(number).name

    before = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
