"""The documentation inside the Python installation itself, as documents: real English text on every machine.

Docstrings of the standard library and of the libraries that come with Ensue, and the language reference of `help()`.
A longer paragraph that was read before is left out, so that none that is held out stands in training as well.
"""

from __future__ import annotations

import gc
import importlib.util
import multiprocessing
import os
import sys
import sysconfig
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path

from ensue.core.seeds import seed_for
from ensue.text.docstrings import SHORTEST, Entry, entries_of
from ensue.text.document import Document

STANDARD_LIBRARY = "python"
LIBRARIES = (
    STANDARD_LIBRARY,
    "numpy",
    "networkx",
    "matplotlib",
    "huggingface_hub",
    "fontTools",
    "pygments",
    "mpmath",
    "setuptools",
    "rich",
    "PIL",
    "fsspec",
    "jinja2",
    "packaging",
    "tyro",
    "pyarrow",
    "filelock",
    "dateutil",
    "httpx",
    "tqdm",
    "sympy",
    "torch",
)
"""Those that come with Ensue, by what it needs or by what that needs: the nearest to plain English first."""

FILES_AT_ONCE = 16
SHORTEST_REPEAT = 80
"""Characters of a paragraph from which a second occurrence is left out; shorter ones, such as titles, are language."""

# Tests, programs and vanished packages: no documentation, or the same in two places.
_SKIPPED_FOLDERS = frozenset(
    {"__pycache__", "site-packages", "dist-packages", "lib-dynload", "test", "tests", "idle_test", "_internal"}
    | {"idlelib", "turtledemo", "lib2to3", "distutils", "ensurepip", "_vendor"}
)


@dataclass(frozen=True)
class _Source:
    """A source file: where it is, its module, the library it belongs to, and its path from the library's folder."""

    path: Path
    module: str
    library: str
    name: str
    size: int


def ignore(_done: int, _total: int) -> None:
    """A callback for whoever does not want to know."""


def python_documentation(
    *,
    libraries: Sequence[str] = LIBRARIES,
    workers: int | None = None,
    on_file: Callable[[int, int], None] = ignore,
) -> list[Document]:
    """One document for each module of `libraries` that is documented, in a fixed order.

    Nothing is imported: the files are parsed by `workers` processes (default: one for each CPU). A docstring or a
    longer paragraph that stands in several places is kept in the first. `on_file` is told (files done, files in all).
    Each document's source is like `python:sympy/core/expr.py` and its `meta["library"]` the top-level package or
    module. Raises ValueError if nothing is found, as in a Python without source files.
    """
    sources = [source for library in libraries for source in _sources_of(library)]
    entries = _read_all(sources, workers or _usable_cpus(), on_file)
    documents = list(_documents(sources, entries))
    if not documents:
        raise ValueError(
            f"No documentation was found in the source files of {', '.join(libraries)}; give your own text instead."
        )
    return documents


def documentation_held_out(
    documents: Sequence[Document], *, fraction: float = 0.05, seed: int = 0
) -> tuple[list[Document], list[Document]]:
    """(train, held out): whole libraries held out, about `fraction` of the bytes, in the order of a hash.

    A library (a top-level package or module) that alone is more than `fraction` stays in training, so that what is held
    out is a mix of several kinds of text, from libraries of which nothing is seen in training.
    """
    sizes: dict[str, int] = {}
    for document in documents:
        library = document.meta["library"]
        sizes[library] = sizes.get(library, 0) + len(document.text.encode())
    wanted = fraction * sum(sizes.values())
    chosen: set[str] = set()
    reached = 0
    for library in sorted(sizes, key=lambda name: seed_for(seed, "held out", name)):
        if reached < wanted and reached + sizes[library] <= 1.25 * wanted and len(chosen) + 1 < len(sizes):
            chosen.add(library)
            reached += sizes[library]
    train = [document for document in documents if document.meta["library"] not in chosen]
    return train, [document for document in documents if document.meta["library"] in chosen]


def _usable_cpus() -> int:
    if sys.version_info >= (3, 13):
        return os.process_cpu_count() or 1
    return os.cpu_count() or 1


def _sources_of(library: str) -> Iterator[_Source]:
    root = _folder_of(library)
    if root is None:
        return
    top = root if library == STANDARD_LIBRARY else root.parent
    for folder, folders, files in os.walk(root):
        folders[:] = sorted(name for name in folders if name not in _SKIPPED_FOLDERS)
        for file in sorted(files):
            if not file.endswith(".py") or file.startswith(("test_", "conftest")):
                continue
            path = Path(folder, file)
            name = path.relative_to(top)
            parts = name.with_suffix("").parts
            module = ".".join(parts[:-1] if parts[-1] == "__init__" and len(parts) > 1 else parts)
            yield _Source(path, module, parts[0], name.as_posix(), path.stat().st_size)


def _folder_of(library: str) -> Path | None:
    if library == STANDARD_LIBRARY:
        return Path(sysconfig.get_path("stdlib"))
    spec = importlib.util.find_spec(library)
    if spec is None or not spec.submodule_search_locations:
        return None
    return Path(next(iter(spec.submodule_search_locations)))


def _read_all(sources: Sequence[_Source], workers: int, on_file: Callable[[int, int], None]) -> list[list[Entry]]:
    """The entries of each source, in the order of `sources`."""
    # The largest first, so that no process is left with a giant at the end.
    order = sorted(range(len(sources)), key=lambda index: -sources[index].size)
    entries: list[list[Entry]] = [[] for _ in sources]
    batches = [order[start : start + FILES_AT_ONCE] for start in range(0, len(order), FILES_AT_ONCE)]
    done = 0

    def keep(batch: Sequence[int], results: Sequence[list[Entry]]) -> None:
        nonlocal done
        for index, found in zip(batch, results, strict=True):
            entries[index] = found
        done += len(batch)
        on_file(done, len(sources))

    if workers > 1 and len(batches) > 1:
        try:
            for batch, results in _in_processes(sources, batches, min(workers, len(batches))):
                keep(batch, results)
            return entries
        except BrokenProcessPool:
            # No processes can be started from here: a script without `if __name__ == "__main__"`, or too little memory.
            done = 0
    for batch in batches:
        keep(batch, _read_batch([sources[index] for index in batch]))
    return entries


def _in_processes(
    sources: Sequence[_Source], batches: Sequence[list[int]], workers: int
) -> Iterator[tuple[list[int], list[list[Entry]]]]:
    # "spawn" is the one way that is safe in a process that already has threads, as one that imported torch has.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, mp_context=context) as pool:
        futures = {pool.submit(_read_batch, [sources[index] for index in batch]): batch for batch in batches}
        for future in as_completed(futures):
            yield futures[future], future.result()


def _read_batch(sources: Sequence[_Source]) -> list[list[Entry]]:
    # Syntax trees are many small objects without cycles; the collector's walks over them are a third of the time.
    collecting = gc.isenabled()
    gc.disable()
    try:
        return [entries_of(source.path, source.module) for source in sources]
    finally:
        if collecting:
            gc.enable()


def _documents(sources: Sequence[_Source], entries: Sequence[list[Entry]]) -> Iterator[Document]:
    texts: set[str] = set()
    paragraphs: set[str] = set()
    for source, found in zip(sources, entries, strict=True):
        kept = []
        for entry in found:
            if entry.text in texts:
                continue
            text = _without_repeats(entry.text, paragraphs)
            if len(text) >= SHORTEST and text not in texts:
                kept.append(f"{entry.heading}\n\n{text}")
            texts |= {entry.text, text}
        if kept:
            yield Document.of("\n\n\n".join(kept) + "\n", f"python:{source.name}", {"library": source.library})


def _without_repeats(text: str, seen: set[str]) -> str:
    """`text` without its longer paragraphs that are in `seen`; the others are added to it."""
    kept = []
    for paragraph in text.split("\n\n"):
        words = " ".join(paragraph.split())
        if len(words) < SHORTEST_REPEAT:
            kept.append(paragraph)
        elif words not in seen:
            seen.add(words)
            kept.append(paragraph)
    return "\n\n".join(kept)
