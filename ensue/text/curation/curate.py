"""From sources and a recipe to a corpus: pass after pass, each finished part kept, so that a killed run goes on."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any, Protocol

from ensue.core.config import to_dict
from ensue.core.lock import LOCK, Locked, locked
from ensue.text.curation.chain import Tally
from ensue.text.curation.parts import PART_BYTES, PART_DOCUMENTS, PartName
from ensue.text.curation.passes import (
    DOCUMENTS,
    SKIPPED,
    WORK,
    Decide,
    Done,
    JudgePart,
    Pass,
    ReadUnit,
    Task,
    add_tallies,
    decided_folder,
    done_before,
    plan_passes,
    step_name,
)
from ensue.text.curation.step import Fact, Step
from ensue.text.curation.store import Store
from ensue.text.curation.units import InputFile, Unit, find_units
from ensue.text.read import ignore
from ensue.text.skips import SkipReport

PLAN, SUMMARY, TIMES = "plan.json", "corpus.json", "times.json"
UNITS = f"{WORK}/units.json"
FORMAT = 1
SMALLEST_DECISION = 448 << 20


class Engine(Protocol):
    """Where tasks run."""

    def run(self, tasks: Sequence[Task]) -> Iterator[Done]:
        """What each task did, in any order."""


@dataclass(frozen=True)
class Progress:
    """What a person is told: the pass and what it does, how many tasks it has, and how many are done."""

    label: str
    total: int
    done: int


@dataclass(frozen=True)
class Summary:
    """What `corpus.json` says.

    documents, bytes  of the corpus
    passes            for each pass the tallies of its steps, without their seconds
    figures           what each corpus step's decision counted, by "01-near-duplicates"
    skipped           files, records and rows that could not be read, counted by reason
    collections       documents and bytes of each collection in the corpus
    """

    format: int
    documents: int
    bytes: int
    passes: list[list[dict[str, Any]]]
    figures: dict[str, dict[str, Fact]]
    skipped: dict[str, int]
    collections: dict[str, list[int]]


def curate(
    sources: Mapping[str, Sequence[str]],
    steps: Sequence[Step],
    out: str,
    *,
    engine: Engine,
    memory: int = 2 << 30,
    on_progress: Callable[[Progress], None] = ignore,
    say: Callable[[str], None] = ignore,
) -> Summary:
    """Make the corpus at `out` (a path or a URL) from named sources, or go on making it.

    What is written depends on the sources and the steps alone, whatever the engine and the number of its workers.
    Raises ValueError for a corpus that is complete, or was begun with other sources or steps (naming what differs), and
    for one that no document reaches; Locked if another process is making it; OSError for a full disk. What was finished
    by then stays, and the same call goes on from there.
    """
    store = Store(out)
    with _alone(store):
        passes = plan_passes(steps)
        units = _begin(store, _plan(sources, steps), sources, say)
        done = _run(engine, [ReadUnit(store, passes[0], unit) for unit in units], _label(passes[0]), on_progress, say)
        tallies = [add_tallies(done)]
        parts = sorted(PartName.of(part) for one in done for part in one.parts)
        for this in passes[1:]:
            decision = Decide(store, this, tuple(parts), max(SMALLEST_DECISION, memory * 3 // 4))
            assert this.judged is not None
            _run(engine, [decision], f"deciding: {step_name(this.judged)}", on_progress, say)
            done = _run(engine, [JudgePart(store, this, part) for part in parts], _label(this), on_progress, say)
            tallies.append(add_tallies(done))
        return _finish(store, passes, tallies)


def finished(sources: Mapping[str, Sequence[str]], steps: Sequence[Step], out: str) -> Summary | None:
    """What was counted if the corpus at `out` is finished. Raises ValueError if other sources or steps made it."""
    store = Store(out)
    if not store.exists(SUMMARY):
        return None
    _check(store, _plan(sources, steps))
    store.remove(WORK)  # as below
    return read_summary(store)


def read_summary(store: Store) -> Summary:
    """What `curate` counted. Raises ValueError where there is no finished corpus."""
    if not store.exists(SUMMARY):
        unfinished = store.exists(PLAN)
        raise ValueError(
            f"{store.place} is not finished; give the command that began it again, and it goes on."
            if unfinished
            else f"{store.place} is not a curated corpus; make one with: ensue curate SOURCES --recipe own --out CORPUS"
        )
    return Summary(**json.loads(store.read(SUMMARY)))


def _run(
    engine: Engine,
    tasks: Sequence[Task],
    label: str,
    on_progress: Callable[[Progress], None],
    say: Callable[[str], None],
) -> list[Done]:
    """All tasks of a pass, those that were done before left out; in the order of their names."""
    before = [(task, done_before(task)) for task in tasks]
    done = [one for _, one in before if one is not None]
    left = [task for task, one in before if one is None]
    if done and left:
        say(f"{label}: {len(done):,} of {len(tasks):,} were finished before")
    total, reached = len(tasks), len(done)
    on_progress(Progress(label, total, reached))
    if left:
        for one in engine.run(left):
            done.append(one)
            reached += 1
            on_progress(Progress(label, total, reached))
    return sorted(done, key=lambda one: one.name)


def _label(this: Pass) -> str:
    names = this.step_names
    return ("reading: " if this.judged is None else "judging: ") + (", ".join(names) or "as it is")


def _plan(sources: Mapping[str, Sequence[str]], steps: Sequence[Step]) -> dict[str, Any]:
    return {
        "format": FORMAT,
        "sources": {name: list(map(str, places)) for name, places in sorted(sources.items())},
        "steps": [to_dict(step) for step in steps],
        "part_bytes": PART_BYTES,
        "part_documents": PART_DOCUMENTS,
    }


def _begin(
    store: Store, plan: dict[str, Any], sources: Mapping[str, Sequence[str]], say: Callable[[str], None]
) -> list[Unit]:
    """Record plan and input of a new corpus; of one that was begun, refuse another plan, and give the input as it was
    found then. Files that have gone since are skipped when they are read."""
    if store.exists(SUMMARY):
        store.remove(WORK)  # which a process that was killed at the very end may have left
        raise ValueError(f"{store.place} is a finished corpus; choose a new name for --out, or remove it first.")
    if not store.exists(PLAN):
        if set(store.names("")) - {WORK, SKIPPED}:
            raise ValueError(f"{store.place} already exists; choose a new name for --out, or remove it first.")
        skipped = SkipReport()
        units = find_units(sources, skipped=skipped)
        rows = [
            {"source": source, "reason": reason, "detail": ""}
            for reason in skipped.reasons()
            for source in skipped.examples(reason)
        ]
        if rows:
            store.write(f"{SKIPPED}/search.jsonl", "".join(json.dumps(row) + "\n" for row in rows).encode())
        store.write(UNITS, json.dumps([asdict(unit) for unit in units]).encode())
        store.write(PLAN, (json.dumps(plan, indent=1) + "\n").encode())
        return units
    _check(store, plan)
    say(f"going on with {store.place}")
    store.clear()
    return [
        Unit(unit["index"], unit["collection"], tuple(InputFile(**file) for file in unit["files"]))
        for unit in json.loads(store.read(UNITS))
    ]


def _check(store: Store, plan: dict[str, Any]) -> None:
    begun = json.loads(store.read(PLAN))
    if begun != json.loads(json.dumps(plan)):
        raise ValueError(
            f"{store.place} was begun with {_difference(begun, plan)}. Give the same again to go on, or a new --out."
        )


def _difference(begun: dict[str, Any], plan: dict[str, Any]) -> str:
    for name in plan:
        if begun.get(name) == plan[name]:
            continue
        if name == "steps" and len(begun[name]) == len(plan[name]):
            for old, new in zip(begun[name], plan[name], strict=True):
                changed = [key for key in {**old, **new} if old.get(key) != new.get(key)]
                if changed:
                    return f"{old.get('kind')}.{changed[0]} = {old.get(changed[0])!r}, not {new.get(changed[0])!r}"
        return f"other {name.replace('_', ' ')}"
    return "another version of Ensue"


def _finish(store: Store, passes: Sequence[Pass], tallies: Sequence[Sequence[Tally]]) -> Summary:
    """Count what came out, write the summary last, and remove the work."""
    documents, size, collections = _count(store)
    if not documents:
        ends = "\n".join(
            f"  {tally.step}: {count[0]:,} dropped: {reason}"
            for step in tallies
            for tally in step
            for reason, count in sorted(tally.dropped.items(), key=lambda item: -item[1][0])
        )
        unread = "\n".join(f"  {count:,} could not be read: {reason}" for reason, count in _skipped(store).items())
        told = "\n".join(filter(None, (unread, ends)))
        raise ValueError(
            f"no document came through the steps, so there is no corpus.\n{told}\n`ensue corpus why ID --corpus "
            f"{store.place}` tells one document's story; remove the folder before another try."
        )
    summary = Summary(
        format=FORMAT,
        documents=documents,
        bytes=size,
        passes=[[_without_seconds(tally) for tally in step] for step in tallies],
        figures={
            decided_folder(this).split("/")[1]: json.loads(store.read(f"{decided_folder(this)}/figures.json"))
            for this in passes[1:]
        },
        skipped=_skipped(store),
        collections=collections,
    )
    store.clear()  # again: a worker may outlive for a moment the one that was killed
    times = [{tally.step: round(tally.seconds, 3) for tally in step} for step in tallies]
    store.write(TIMES, (json.dumps(times, indent=1) + "\n").encode())
    store.write(SUMMARY, (json.dumps(asdict(summary), indent=1) + "\n").encode())
    store.remove(WORK)
    return summary


def _count(store: Store) -> tuple[int, int, dict[str, list[int]]]:
    from pyarrow import parquet

    collections: dict[str, list[int]] = {}
    for name in store.names(DOCUMENTS, ".parquet"):
        table = parquet.ParquetFile(io.BytesIO(store.read(f"{DOCUMENTS}/{name}"))).read(["bytes", "meta"])
        for size, meta in zip(table.column("bytes").to_pylist(), table.column("meta").to_pylist(), strict=True):
            counts = collections.setdefault(json.loads(meta).get("collection", ""), [0, 0])
            counts[0] += 1
            counts[1] += size
    documents, size = (sum(counts[index] for counts in collections.values()) for index in (0, 1))
    return documents, size, dict(sorted(collections.items()))


def _skipped(store: Store) -> dict[str, int]:
    counts: dict[str, int] = {}
    for name in store.names(SKIPPED, ".jsonl"):
        for line in store.read(f"{SKIPPED}/{name}").decode().splitlines():
            reason = json.loads(line)["reason"]
            counts[reason] = counts.get(reason, 0) + 1
    return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))


def _without_seconds(tally: Tally) -> dict[str, Any]:
    return {name: value for name, value in asdict(tally).items() if name != "seconds"}


@contextmanager
def _alone(store: Store) -> Iterator[None]:
    """Hold the corpus folder for this process. Elsewhere than on this disk there is no lock to be had."""
    folder = store.folder
    if folder is None:
        yield
        return
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with locked(folder):
            try:
                yield
            finally:
                if [path.name for path in folder.iterdir()] == [LOCK]:  # nothing was begun
                    (folder / LOCK).unlink()
                    folder.rmdir()
    except Locked as error:
        raise Locked(f"another process is making {folder}; wait until it is done, or choose another --out.") from error
