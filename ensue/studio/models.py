"""Which models there are to write with, and those that are open, each with a thread that runs it."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from ensue.generate.engine.engine import Engine
from ensue.generate.engine.opening import EngineSettings, open_engine
from ensue.generate.engine.pages import PAGE
from ensue.generate.engine.thread import EngineThread
from ensue.generate.lm import LM
from ensue.studio.run_list import find_runs
from ensue.tokens.tokenizer import Tokenizer

MOST_OPEN = 4
"""Models that are held in memory at once; of those that nobody writes with, the one unused for longest goes first."""

CONTEXTS = 4
"""Whole contexts that the cache of each has room for."""


@dataclass(frozen=True)
class ModelChoice:
    """A model by the name that people choose it by, and what `ensue.load` is given."""

    name: str
    path: str


@dataclass(frozen=True)
class RunningModel:
    """A model whose engine runs in a thread; `read` gives the whole of it, with weights in PyTorch, maybe from disk."""

    thread: EngineThread
    tokenizer: Tokenizer
    read: Callable[[], LM]


@dataclass
class OpenModel:
    """A running model that pages use; `key` tells its weights apart from all others."""

    choice: ModelChoice
    key: str
    running: RunningModel
    used: int = 0
    _whole: Callable[[], LM | None] = lambda: None
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def thread(self) -> EngineThread:
        """What writes with it."""
        return self.running.thread

    @property
    def tokenizer(self) -> Tokenizer:
        return self.running.tokenizer

    @property
    def context(self) -> int:
        """Tokens that a text may have."""
        return self.thread.engine.passes.config.context

    def whole(self) -> LM:
        """All of the model, to look inside. Where it has to be read, that is done once for all who keep it, and takes
        seconds, so it is for a thread.

        Raises ValueError or FileNotFoundError as `ensue.load` does.
        """
        with self._lock:
            lm = self._whole()
            if lm is None:
                lm = self.running.read()
                self._whole = weakref.ref(lm)
            return lm


def find_models(given: Sequence[str], runs: Path) -> list[ModelChoice]:
    """The models that were named, then each run's newest, then each checkpoint of each run, newest first."""
    found = [ModelChoice(path, path) for path in given]
    for run in find_runs(runs):
        checkpoints = run.checkpoints()
        if not checkpoints:
            continue
        name = run.path.relative_to(runs).as_posix() if run.path != runs else run.path.name
        found.append(ModelChoice(name, str(run.path)))
        found.extend(ModelChoice(f"{name} · {int(path.name):,}", str(path)) for path in reversed(checkpoints))
    return list({choice.path: choice for choice in found}.values())


@dataclass
class Models:
    """The open models of one studio; `loaded` and `running` ones are there from the beginning and are never read again,
    and whoever runs the latter ends them."""

    given: Sequence[str]
    runs: Path
    loaded: Mapping[str, LM] = field(default_factory=dict)
    running: Mapping[str, RunningModel] = field(default_factory=dict)
    _shared: dict[str, OpenModel] = field(default_factory=dict)
    _open: dict[str, OpenModel] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _clock: int = 0

    def choices(self) -> list[ModelChoice]:
        """What there is to choose from right now."""
        named = [ModelChoice(name, name) for name in (*self.running, *self.loaded) if name not in self.given]
        return [*named, *find_models(self.given, self.runs)]

    def open(self, choice: ModelChoice) -> OpenModel:
        """The model, loaded where it is not open yet; takes seconds then, so it is for a thread.

        Raises ValueError or FileNotFoundError as `ensue.load` does.
        """
        with self._lock:
            running = self.running.get(choice.path)
            if running is not None:
                return self._shared.setdefault(choice.path, OpenModel(choice, choice.path, running))
            self._clock += 1
            key = self._key(choice)
            model = self._open.get(key)
            if model is None:
                self._make_room()
                lm = self.loaded.get(choice.path) or _load(choice.path)
                model = self._open[key] = OpenModel(choice, key, _run(lm))
            model.used = self._clock
            return model

    def close(self) -> None:
        """End the threads that were begun here."""
        for model in self._open.values():
            model.thread.stop(wait=False)
        self._open.clear()

    def _key(self, choice: ModelChoice) -> str:
        """What tells the weights behind a path apart from those that were there before: a run's newest may change."""
        if choice.path in self.loaded:
            return choice.path
        from ensue.generate.resolve import resolve

        folder = resolve(choice.path)
        newest = max((path.stat().st_mtime_ns for path in folder.iterdir() if path.is_file()), default=0)
        return f"{folder.resolve()}@{newest}"

    def _make_room(self) -> None:
        idle = [(model.used, key) for key, model in self._open.items() if not model.thread.busy]
        for _, key in sorted(idle)[: max(0, len(self._open) - MOST_OPEN + 1)]:
            self._open.pop(key).thread.stop(wait=False)


def _load(path: str) -> LM:
    from ensue.generate.load import load

    return load(path)


def _run(lm: LM) -> RunningModel:
    thread = EngineThread(_engine(lm))
    thread.start()
    return RunningModel(thread, lm.tokenizer, lambda: lm)


def _engine(lm: LM) -> Engine:
    config, settings = lm.config, EngineSettings()
    value = lm.model.token_embedding.weight.element_size()
    tokens = config.context + settings.pass_tokens + PAGE
    return open_engine(
        lm, replace(settings, cache_bytes=CONTEXTS * tokens * 2 * config.layers * config.width * max(4, value))
    )
