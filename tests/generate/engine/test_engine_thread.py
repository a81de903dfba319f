"""The thread that owns an engine: what readers are told, whatever becomes of them, of the engine and of other work."""

import threading
import time
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

import pytest

from ensue.generate.engine.engine import Engine
from ensue.generate.engine.opening import EngineSettings, open_engine
from ensue.generate.engine.requests import Event, Request
from ensue.generate.engine.thread import EngineThread
from ensue.generate.lm import LM
from ensue.model.gpt import GPT
from ensue.tokens.byte_level import ByteLevelTokenizer

LONG = Request((1, 2, 3), most=100)


@dataclass
class Notes:
    """A reader that writes down what it is told, has enough after `enough` tokens, and may fail at one, or keep the
    engine waiting there until it may `go`."""

    enough: int = 1000
    fails_at: int | None = None
    waits_at: int | None = None
    waits: threading.Event = field(default_factory=threading.Event)
    go: threading.Event = field(default_factory=threading.Event)
    tokens: list[int] = field(default_factory=list)
    error: Exception | None = None
    over: threading.Event = field(default_factory=threading.Event)

    def take(self, event: Event) -> bool:
        self.tokens += [told.token for told in event.new]
        if self.fails_at is not None and len(self.tokens) >= self.fails_at:
            raise RuntimeError("a reader's own mistake")
        if len(self.tokens) == self.waits_at:
            self.waits.set()
            assert self.go.wait(20)
        return len(self.tokens) < self.enough

    def end(self, error: Exception | None) -> None:
        assert not self.over.is_set()
        self.error = error
        self.over.set()


@pytest.fixture(scope="module")
def lm(make_gpt: Callable[..., GPT], tokenizer: ByteLevelTokenizer) -> LM:
    return LM(make_gpt(vocab=332, context=128), tokenizer, Path("nowhere"))


@pytest.fixture
def engine(lm: LM) -> Engine:
    return open_engine(lm, EngineSettings(cache_bytes=1 << 22))


@pytest.fixture
def thread(engine: Engine) -> Iterator[EngineThread]:
    thread = EngineThread(engine)
    thread.start()
    yield thread
    thread.stop()
    assert not thread.alive


def test_each_reader_is_told_its_own(lm: LM, thread: EngineThread) -> None:
    asked = [Request((1, 2, number), most=10 + number, stop=frozenset()) for number in range(5)]
    expected = open_engine(lm, EngineSettings(cache_bytes=1 << 22)).run(asked)
    notes = [Notes() for _ in asked]
    thread.write(list(zip(asked, notes, strict=True)))
    for note, told in zip(notes, expected, strict=True):
        assert note.over.wait(20)
        assert note.error is None
        assert note.tokens == [each.token for each in told]
    assert not thread.busy


def test_one_that_has_enough_fails_or_is_stopped_ends_alone(thread: EngineThread) -> None:
    enough, failing, stopped, other = Notes(enough=5), Notes(fails_at=3), Notes(waits_at=4), Notes()
    thread.write([(LONG, enough), (LONG, failing), (LONG, other)])
    stop = thread.write([(LONG, stopped)])
    assert stopped.waits.wait(20)
    stop()
    stopped.go.set()
    for note in (enough, failing, stopped, other):
        assert note.over.wait(20)
    assert (len(enough.tokens), len(failing.tokens), len(other.tokens)) == (5, 3, 100)
    assert len(stopped.tokens) == 4
    assert isinstance(failing.error, RuntimeError)
    assert enough.error is stopped.error is other.error is None
    assert thread.ask(lambda engine: (engine.going, engine.pool.available == engine.pool.count)).result(20) == (0, True)


def test_a_step_that_fails_ends_all_and_the_next_is_well(
    thread: EngineThread, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*given: object) -> None:
        raise MemoryError("no more")

    one, other, later = Notes(), Notes(), Notes()
    with monkeypatch.context() as patch:
        patch.setattr(engine.passes, "run", broken)
        thread.write([(LONG, one), (LONG, other)])
        assert one.over.wait(20)
        assert other.over.wait(20)
    assert isinstance(one.error, MemoryError)
    assert isinstance(other.error, MemoryError)
    thread.write([(LONG, later)])
    assert later.over.wait(20)
    assert len(later.tokens) == 100


def test_what_cannot_be_served_is_refused_where_it_is_asked(thread: EngineThread) -> None:
    fine = Notes()
    with pytest.raises(ValueError, match="no tokens"):
        thread.write([(LONG, fine), (Request(()), Notes())])
    assert not thread.ask(lambda engine: engine.going).result(20)


def test_other_work_is_done_between_steps(thread: EngineThread) -> None:
    note, begun, closed = Notes(), threading.Event(), threading.Event()
    seen: list[int] = []

    def counting(most: int) -> Generator[None, None, int]:
        try:
            for _ in range(most):
                begun.set()
                seen.append(len(note.tokens))
                yield
        finally:
            closed.set()
        return most

    thread.write([(LONG, note)])
    assert thread.work(counting(10)).result(20) == 10
    assert all(0 <= after - before <= 1 for before, after in pairwise(seen))  # a piece after each step
    with pytest.raises(ZeroDivisionError):
        thread.ask(lambda engine: 1 // 0).result(20)
    begun.clear()
    closed.clear()
    given_up = thread.work(counting(10**9))
    assert begun.wait(20)
    assert given_up.cancel()
    _until(closed.is_set)  # what it holds is let go
    assert note.over.wait(20)


def test_work_that_is_left_at_the_end_is_given_up(engine: Engine) -> None:
    thread = EngineThread(engine)
    thread.start()

    def endless() -> Generator[None, None, None]:
        while True:
            yield

    left = thread.work(endless())
    thread.ask(lambda engine: None).result(20)
    thread.stop()
    assert left.cancelled()


def test_what_each_step_brought_is_told_once_readers_know(engine: Engine) -> None:
    note, seen = Notes(), []
    thread = EngineThread(engine, after_step=lambda events, seconds: seen.append((len(note.tokens), seconds)))
    thread.start()
    thread.write([(LONG, note)])
    assert note.over.wait(20)
    thread.ask(lambda engine: None).result(20)
    thread.stop()
    assert [tokens for tokens, seconds in seen if seconds] == list(range(1, 101))


def _until(true: Callable[[], bool]) -> None:
    end = time.monotonic() + 20
    while not true():
        assert time.monotonic() < end
        time.sleep(0.002)
