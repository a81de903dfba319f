"""What `ensue curate` does: sources and a recipe in; a corpus, its report and token shards out."""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import PurePosixPath
from typing import Any, Literal

from ensue.core.config import to_dict
from ensue.recipes.corpora.report import write_report
from ensue.recipes.display import Bar, Display
from ensue.text.curation.cluster import RayEngine
from ensue.text.curation.curate import Engine, Progress, Summary, curate, finished
from ensue.text.curation.local import LocalEngine
from ensue.text.curation.passes import step_name
from ensue.text.curation.step import Step
from ensue.text.curation.store import Store

EngineName = Literal["local", "ray"]
LEAST_MEMORY = 1 << 30
ALMOST_ALL, SOME = 0.9, 20
"""A step that drops this share, of so many documents or more, is worth a second look."""

UNITS = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}


def run_curation(
    sources: Sequence[str],
    steps: Sequence[Step],
    out: str,
    *,
    engine: EngineName,
    workers: int | None,
    max_memory: str,
    address: str | None,
    tokens: bool,
    display: Display,
) -> Summary:
    """Curate named sources into `out`, with progress; ends with the report and a table of what each step did.

    Where `tokens` are to follow, a corpus that the same command has finished is taken as it is.
    """
    collections = named_sources(sources)
    summary = finished(collections, steps, out) if tokens else None
    if summary is not None:
        display.say(f"{out} is finished; its token shards are next")
        return summary
    memory = parse_memory(max_memory)
    if engine == "local" and memory < LEAST_MEMORY:
        raise ValueError(f"--max-memory {max_memory} is less than one worker and its libraries need; give 1G or more.")
    chosen = choose_engine(engine, workers=workers, memory=memory, address=address)
    if isinstance(chosen, LocalEngine):
        display.say(f"{chosen.workers} worker processes, at most {max_memory} of memory together")
    try:
        with _Bars(display) as bars:
            summary = curate(
                collections, steps, out, engine=chosen, memory=memory, on_progress=bars.show, say=display.say
            )
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise OSError(
            error.errno, f"{error.strerror}; what is finished stays in {out}, and the same command goes on from there"
        ) from error
    write_report(Store(out))
    show_summary(summary, display)
    return summary


def choose_engine(name: EngineName, *, workers: int | None, memory: int, address: str | None) -> Engine:
    """The engine that was asked for. Raises ValueError for an address without Ray."""
    if name == "ray":
        return RayEngine(workers=workers, address=address)
    if address is not None:
        raise ValueError("--address is of a Ray cluster; it goes with --engine ray.")
    return LocalEngine(workers or len(os.sched_getaffinity(0)), memory)


def named_sources(given: Sequence[str]) -> Mapping[str, list[str]]:
    """Collections by name from NAME=PATH, or PATH, whose name is its last part without endings."""
    sources: dict[str, list[str]] = {}
    for one in given:
        name, equals, place = one.partition("=")
        if not equals or "/" in name:
            name, place = PurePosixPath(one).name.split(".")[0] or "text", one
        if not re.fullmatch(r"[\w.-]+", name) or not place:
            raise ValueError(f"{one!r} does not name a source; write NAME=PATH, such as crawl=pages/")
        sources.setdefault(name, []).append(place)
    return sources


def parse_memory(text: str) -> int:
    """Bytes of "2G", "500M" or a plain number."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([KMGT]?)(?:i?B)?", text.strip(), re.IGNORECASE)
    if found is None:
        raise ValueError(f"--max-memory {text} is no size; write for example --max-memory 2G")
    return int(float(found[1]) * UNITS[found[2].upper()])


def show_steps(steps: Sequence[Step], display: Display) -> None:
    """The recipe as a list, each step with its settings."""
    display.heading("the steps")
    for step in steps:
        settings = [f"{name} = {value!r}" for name, value in to_dict(step).items() if name != "kind"]
        display.say(f"  {step_name(step):<22} {', '.join(settings)}", style="dim")


def show_summary(summary: Summary, display: Display) -> None:
    """A table: documents into each step, what it dropped, and the most frequent reasons."""
    from rich.table import Table

    table = Table(box=None, header_style="dim", pad_edge=False)
    for name, justify in (("step", "left"), ("documents", "right"), ("dropped", "right"), ("why", "left")):
        table.add_column(name, justify=justify)  # type: ignore[arg-type]
    for tally in (tally for one in summary.passes for tally in one if tally["documents_in"]):
        reasons = sorted(tally["dropped"].items(), key=lambda item: -item[1][0])
        why = "; ".join(f"{reason} {documents:,}" for reason, (documents, _) in reasons[:3])
        more = f"; {len(reasons) - 3} more reasons" if len(reasons) > 3 else ""
        table.add_row(str(tally["step"]), f"{tally['documents_in']:,}", f"{_dropped(tally):,}", why + more)
    display.show(table)
    for name in drastic_steps(summary):
        more = ", and what other values of --alpha would keep" if name == "quality filter" else ""
        display.say(f"{name} dropped almost all that came to it; report.html shows samples of it{more}", style="yellow")
    for reason, count in summary.skipped.items():
        display.say(f"skipped {count:,}: {reason}", style="dim")
    display.say(f"{summary.documents:,} documents, {summary.bytes / 1e6:,.1f} MB in the corpus")


def drastic_steps(summary: Summary) -> list[str]:
    """The steps that dropped more than nine tenths of 20 documents or more."""
    return [
        str(tally["step"])
        for one in summary.passes
        for tally in one
        if tally["documents_in"] >= SOME and _dropped(tally) > ALMOST_ALL * tally["documents_in"]
    ]


def _dropped(tally: Mapping[str, Any]) -> int:
    return sum(documents for documents, _ in tally["dropped"].values())


class _Bars:
    """One bar after another, from the progress of passes."""

    def __init__(self, display: Display) -> None:
        self._display, self._stack = display, ExitStack()
        self._label, self._done = "", 0
        self._bar: Bar | None = None

    def __enter__(self) -> _Bars:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def show(self, progress: Progress) -> None:
        if progress.label != self._label or self._bar is None:
            self._stack.close()
            self._stack = ExitStack()
            self._bar = self._stack.enter_context(
                self._display.bar(progress.label, progress.total, f"{progress.total:,} parts")
            )
            self._label, self._done = progress.label, 0
        self._bar.advance(progress.done - self._done)
        self._done = progress.done
