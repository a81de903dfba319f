"""The passes of a recipe: what is done to one part, or decided once, as tasks that any process on any machine can run.

    pass 0   read a unit, send it through the steps before the first corpus step, scan what is left for that step
    pass k   send a part through the k-th corpus step and the document steps after it, scan for the next one

Between two passes the corpus step in the middle decides. A task is done when its marker, written last, is there.
"""

from __future__ import annotations

import json
import re
import shutil
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path

from ensue.text.curation.chain import Named, Tally, follow
from ensue.text.curation.ledger import FOLDER as LEDGER
from ensue.text.curation.ledger import pack_stories
from ensue.text.curation.parts import (
    PartName,
    in_parts,
    pack_arrays,
    pack_documents,
    unpack_arrays,
    unpack_documents,
)
from ensue.text.curation.step import Arrays, CorpusStep, DocumentStep, Judge, NumberedJudge, Step
from ensue.text.curation.store import Store
from ensue.text.curation.units import Unit, read_unit
from ensue.text.document import Document
from ensue.text.skips import SkipReport

WORK, DECIDED, DOCUMENTS, SKIPPED = "work", "decided", "documents", "skipped"
FIGURES = "figures.json"


@dataclass(frozen=True)
class Pass:
    """One pass: the corpus step that judges first (None in pass 0), the document steps after it, and the corpus step
    that the result is scanned for (None in the last pass)."""

    index: int
    judged: CorpusStep | None
    steps: tuple[DocumentStep, ...]
    scanned: CorpusStep | None

    @property
    def name(self) -> str:
        """Such as "00"."""
        return f"{self.index:02d}"

    @property
    def step_names(self) -> list[str]:
        """Of all steps whose verdicts are in this pass' ledger."""
        steps: list[Step] = [*self.steps] if self.judged is None else [self.judged, *self.steps]
        return _distinct([step_name(step) for step in steps])


@dataclass(frozen=True)
class Done:
    """What a task did: the unit's or part's name, the parts it made, and tallies."""

    name: str
    parts: tuple[str, ...]
    tallies: tuple[Tally, ...]


@dataclass(frozen=True)
class ReadUnit:
    """Read one unit, and put it through pass 0."""

    store: Store
    this: Pass
    unit: Unit

    def run(self) -> Done:
        """Parts that an interrupted run has finished are passed over, and not worked on again."""
        marker = f"{WORK}/{this_name(self)}.json"
        parts: list[str] = []
        with _scratch() as scratch:
            skipped = SkipReport(scratch / "skipped.jsonl")
            for index, documents in enumerate(in_parts(read_unit(self.unit, skipped=skipped))):
                part = PartName(self.unit.index, index)
                if not self.store.exists(_marker(self.this, part)):
                    _work(self.store, self.this, part, documents, [])
                parts.append(str(part))
            if skipped.count:
                data = (scratch / "skipped.jsonl").read_bytes()
                self.store.write(f"{SKIPPED}/{self.unit.index:06d}.jsonl", data)
        done = Done(f"{self.unit.index:06d}", tuple(parts), tuple(_sum(self.store, self.this, parts)))
        self.store.write(marker, _packed(done))
        return done


@dataclass(frozen=True)
class JudgePart:
    """Put one part of the pass before through a later pass."""

    store: Store
    this: Pass
    part: PartName

    def run(self) -> Done:
        """Reads the part, writes the next one, its scan and its ledger."""
        assert self.this.judged is not None
        documents = unpack_documents(self.store.read(part_file(self.this.index - 1, self.part)))
        numbers = iter(range(self.part.first, self.part.first + len(documents)))
        with _scratch() as scratch:
            decided = self.store.bring(decided_folder(self.this), scratch)
            judge = self.this.judged.prepare(decided, self.part.first, self.part.first + len(documents))
            done = _work(self.store, self.this, self.part, documents, [_in_turn(judge, numbers)])
        return done


@dataclass(frozen=True)
class Decide:
    """Decide for the corpus step that a pass begins with."""

    store: Store
    this: Pass
    parts: tuple[PartName, ...]
    memory: int

    def run(self) -> Done:
        """From the scans of the pass before; what is decided stays with the corpus, its figures beside it."""
        assert self.this.judged is not None
        with _scratch(self.store) as scratch:
            out, room = scratch / "out", scratch / "room"
            out.mkdir()
            room.mkdir()
            figures = self.this.judged.decide(self._scans(), out, memory=self.memory, scratch=room)
            (out / FIGURES).write_text(json.dumps(dict(figures), indent=1) + "\n", encoding="utf-8")
            self.store.take(out, decided_folder(self.this), last=FIGURES)
        return Done(self.this.name, (), ())

    def _scans(self) -> Iterator[Arrays]:
        for part in self.parts:
            yield unpack_arrays(self.store.read(scan_file(self.this.index - 1, part)))


Task = ReadUnit | JudgePart | Decide


def plan_passes(steps: Sequence[Step]) -> list[Pass]:
    """Cut a recipe before each of its corpus steps."""
    groups: list[tuple[CorpusStep | None, list[DocumentStep]]] = [(None, [])]
    for step in steps:
        if isinstance(step, CorpusStep):
            groups.append((step, []))
        else:
            groups[-1][1].append(step)
    scanned = [judged for judged, _ in groups[1:]] + [None]
    return [
        Pass(index, judged, tuple(rest), next_one)
        for index, ((judged, rest), next_one) in enumerate(zip(groups, scanned, strict=True))
    ]


def step_name(step: Step) -> str:
    """The class name in words: NearDuplicates is "near duplicates"."""
    return in_words(type(step).__name__)


def in_words(kind: str) -> str:
    """The name of a step's class, as a plan writes it down, in the words by which its verdicts go."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])", " ", kind).lower()


def this_name(task: ReadUnit | JudgePart) -> str:
    """Where a task's marker lies below WORK."""
    if isinstance(task, ReadUnit):
        return f"units/{task.unit.index:06d}"
    return f"{task.this.name}/{task.part}"


def part_file(pass_index: int, part: PartName) -> str:
    """The documents that came out of a pass."""
    return f"{WORK}/{pass_index:02d}/{part}.parquet"


def scan_file(pass_index: int, part: PartName) -> str:
    """What was scanned of them."""
    return f"{WORK}/{pass_index:02d}/{part}.npz"


def final_file(part: PartName) -> str:
    """The documents of the last pass, which are the corpus."""
    return f"{DOCUMENTS}/documents-{part}.parquet"


def decided_folder(this: Pass) -> str:
    """What the corpus step of a pass decided, such as "decided/01-near-duplicates"."""
    assert this.judged is not None
    return f"{DECIDED}/{this.name}-{step_name(this.judged).replace(' ', '-')}"


def read_done(store: Store, name: str) -> Done | None:
    """What a task did, if its marker is there."""
    if not store.exists(name):
        return None
    found = json.loads(store.read(name))
    tallies = tuple(Tally(**tally) for tally in found["tallies"])
    return Done(found["name"], tuple(found["parts"]), tallies)


def done_before(task: Task) -> Done | None:
    """What an earlier run did of this task, if it finished it."""
    if isinstance(task, Decide):
        found = task.store.exists(f"{decided_folder(task.this)}/{FIGURES}")
        return Done(task.this.name, (), ()) if found else None
    return read_done(task.store, f"{WORK}/{this_name(task)}.json")


def _work(store: Store, this: Pass, part: PartName, documents: list[Document], first: Sequence[Judge]) -> Done:
    """Send documents through a pass and write all that comes of them, the marker last."""
    judges = [*first, *_prepared(this.steps)]
    kept, stories, tallies = follow(documents, list(map(Named, this.step_names, judges)))
    last = this.scanned is None
    if kept or not last:
        store.write(final_file(part) if last else part_file(this.index, part), pack_documents(kept))
    if this.scanned is not None:
        begun = time.perf_counter()
        store.write(scan_file(this.index, part), pack_arrays(this.scanned.scan(kept, part.first)))
        tallies.append(Tally(f"scan for {step_name(this.scanned)}", seconds=time.perf_counter() - begun))
    store.write(f"{LEDGER}/{this.name}/{part}.parquet", pack_stories(stories))
    done = Done(str(part), (str(part),), tuple(tallies))
    store.write(_marker(this, part), _packed(done))
    return done


@cache
def _prepared(steps: tuple[DocumentStep, ...]) -> tuple[Judge, ...]:
    """The judges of document steps, loaded once in each process."""
    return tuple(step.prepare() for step in steps)


def _distinct(names: Sequence[str]) -> list[str]:
    """The names, the second of equal ones with a 2 behind it, and so on."""
    return [
        f"{name} {before + 1}" if (before := names[:index].count(name)) else name for index, name in enumerate(names)
    ]


def _in_turn(judge: NumberedJudge, numbers: Iterator[int]) -> Judge:
    """A numbered judge that is given the documents of a part in their order."""
    return lambda document: judge(next(numbers), document)


def _marker(this: Pass, part: PartName) -> str:
    return f"{WORK}/{this.name}/{part}.json"


def _packed(done: Done) -> bytes:
    return json.dumps(asdict(done)).encode()


def _sum(store: Store, this: Pass, parts: Sequence[str]) -> list[Tally]:
    """The tallies of a unit's parts, added up."""
    found = [read_done(store, _marker(this, PartName.of(part))) for part in parts]
    return add_tallies([done for done in found if done is not None])


def add_tallies(done: Sequence[Done]) -> list[Tally]:
    """The tallies of several tasks of one pass, added up step by step."""
    total: dict[str, Tally] = {}
    for tally in (tally for one in done for tally in one.tallies):
        into = total.setdefault(tally.step, Tally(tally.step))
        for name in ("documents_in", "bytes_in", "documents_out", "bytes_out", "seconds"):
            setattr(into, name, getattr(into, name) + getattr(tally, name))
        for mine, theirs in ((into.dropped, tally.dropped), (into.changed, tally.changed)):
            for reason, (documents, size) in theirs.items():
                counts = mine.setdefault(reason, [0, 0])
                counts[0] += documents
                counts[1] += size
    return list(total.values())


@contextmanager
def _scratch(store: Store | None = None) -> Iterator[Path]:
    """An empty folder that is gone afterwards: beside the corpus where it lies on this disk, so that things can be
    moved, else among the system's temporary files."""
    beside = store.folder if store is not None else None
    if beside is not None:
        beside = beside / WORK
        beside.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix="scratch-", dir=beside))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
