"""Documents from files and folders: plain text, JSON lines and Parquet, compressed or not, in bounded memory."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

from ensue.text.cutting import cut_point
from ensue.text.document import Document
from ensue.text.find import FoundFile, endings, find_named_files, kind_of
from ensue.text.rows import TEXT_FIELDS, read_json_lines, read_parquet
from ensue.text.skips import SkipReport
from ensue.text.streams import FileProgress, Unreadable, read_chunks, text_chunks

DOCUMENT_CHARACTERS = 1 << 20


def ignore(_: object) -> None:
    """A callback for whoever does not want to know."""


def read_documents(
    paths: Sequence[Path],
    *,
    skipped: SkipReport,
    on_bytes: Callable[[int], None] = ignore,
    fields: Sequence[str] = TEXT_FIELDS,
) -> Iterator[Document]:
    """The documents in `paths` (files or folders) in a fixed order, one at a time.

    skipped   counts and names every file, line and row that could not be used
    on_bytes  is told how many more bytes on disk have been consumed; over the run they add up to the files' sizes
    fields    where the text of a JSON object or a Parquet row is looked for, in this order; failing these, the only
              field that holds a string

    A document's source is `books/little-women.txt`, `books/long.txt#2` for the second part of a file that was cut,
    `tang.jsonl.gz:17` for a line or `x.parquet:17` for a row, all counted from 1. Raises FileNotFoundError or
    ValueError before the first document if a path does not exist or holds nothing to read.
    """
    files = find_named_files(paths, skipped=skipped)
    return _read_files(files, skipped, on_bytes, tuple(fields))


def _read_files(
    files: Iterable[FoundFile], skipped: SkipReport, on_bytes: Callable[[int], None], fields: tuple[str, ...]
) -> Iterator[Document]:
    for file in files:
        try:
            size = file.path.stat().st_size
        except OSError as error:
            skipped.add(file.name, "the file cannot be read", str(error.strerror))
            continue
        progress = FileProgress(size, on_bytes)
        given = 0
        try:
            for document in _read_file(file, size, skipped, progress, fields):
                yield document
                given += 1
        except Unreadable as error:
            after = f"; the {given:,} documents before it are kept" if given else ""
            skipped.add(file.name, error.reason, error.detail + after)
        progress.finish()


def _read_file(
    file: FoundFile, size: int, skipped: SkipReport, progress: FileProgress, fields: tuple[str, ...]
) -> Iterator[Document]:
    kind_and_packing = kind_of(file.name)
    if kind_and_packing is None:
        raise Unreadable("not a kind that is read", endings())
    if size == 0:
        raise Unreadable("empty")
    kind, packing = kind_and_packing
    if kind == ".parquet":
        yield from _read_parquet_file(file, packing, skipped, progress, fields)
        return
    chunks = read_chunks(file.path, packing, progress)
    if kind == ".jsonl":
        yield from read_json_lines(chunks, file.name, skipped=skipped, fields=fields)
    else:
        yield from read_plain_text(chunks, file.name)


def read_plain_text(chunks: Iterable[bytes], name: str) -> Iterator[Document]:
    """A text as documents of at most DOCUMENT_CHARACTERS; their texts joined are the text of the file.

    A text that needs no cutting is one document under its own name; the parts of one that does are `name#1`, `name#2`.
    Raises Unreadable where the file stops being text, and for one without anything to read.
    """
    waiting = ""
    part = 0
    for text in text_chunks(chunks):
        waiting += text
        while len(waiting) > DOCUMENT_CHARACTERS:
            # Looks only at what fits, so the parts do not depend on how the file was read or compressed.
            end = cut_point(waiting, DOCUMENT_CHARACTERS * 3 // 4, DOCUMENT_CHARACTERS)
            part += 1
            piece, waiting = waiting[:end], waiting[end:]
            yield Document.of(piece, f"{name}#{part}", {"part": str(part)})
    if part and waiting:
        yield Document.of(waiting, f"{name}#{part + 1}", {"part": str(part + 1)})
    elif waiting and not waiting.isspace():
        yield Document.of(waiting, name)
    elif not part:
        raise Unreadable("empty", "white space only" if waiting else "")


def _read_parquet_file(
    file: FoundFile, packing: str, skipped: SkipReport, progress: FileProgress, fields: tuple[str, ...]
) -> Iterator[Document]:
    if not packing:
        yield from read_parquet(file.path, file.name, skipped=skipped, fields=fields, on_share=progress.reached)
        return
    # Parquet is read from its end, so a compressed one has to be unpacked to disk first.
    with tempfile.NamedTemporaryFile(suffix=".parquet") as unpacked:
        for chunk in read_chunks(file.path, packing, progress):
            unpacked.write(chunk)
        unpacked.flush()
        yield from read_parquet(Path(unpacked.name), file.name, skipped=skipped, fields=fields, on_share=ignore)
