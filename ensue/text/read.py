"""Documents from files and folders of every kind that Ensue reads, compressed or not, in bounded memory."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from ensue.text.cutting import cut_point
from ensue.text.document import Document
from ensue.text.find import OFFICE_KINDS, TEXT_KINDS, FoundFile, endings, find_named_files, kind_of
from ensue.text.office.files import TOO_MUCH, UNPACKED_BYTES, open_office_file
from ensue.text.rows import TEXT_FIELDS, read_json_lines, read_parquet
from ensue.text.skips import SkipReport
from ensue.text.streams import EMPTY, FileProgress, Unreadable, read_chunks, read_line_stretch, text_chunks
from ensue.text.web.pages import read_archive, read_html

DOCUMENT_CHARACTERS = 1 << 20


def ignore(_: object) -> None:
    """A callback for whoever does not want to know."""


def read_documents(
    paths: Sequence[Path],
    *,
    skipped: SkipReport,
    on_bytes: Callable[[int], None] = ignore,
    fields: Sequence[str] = TEXT_FIELDS,
    kinds: Sequence[str] | None = TEXT_KINDS,
    detect_encoding: bool = False,
) -> Iterator[Document]:
    """The documents in `paths` (files or folders) in a fixed order, one at a time.

    skipped   counts and names every file, line and row that could not be used
    on_bytes  is told how many more bytes on disk have been consumed; over the run they add up to the files' sizes
    fields    where the text of a JSON object or a Parquet row is looked for, in this order; failing these, the only
              field that holds a string
    kinds     the endings of the files that are read; None for all: archives and pages of the web, books, office files
    detect_encoding  read plain text that is not UTF-8 too; the encodings of web pages are always told

    A document's source is `books/little-women.txt`, `books/long.txt#2` for the second part of a file that was cut,
    `tang.jsonl.gz:17` for a line, `x.parquet:17` for a row or `crawl.warc.gz:17` for a record, all counted from 1.
    Raises FileNotFoundError or ValueError before the first document if a path does not exist or holds nothing to read.
    """
    files = find_named_files(paths, skipped=skipped, kinds=kinds)
    return _read_files(files, skipped, on_bytes, tuple(fields), kinds, detect_encoding)


def read_found_file(
    file: FoundFile,
    *,
    skipped: SkipReport,
    on_bytes: Callable[[int], None] = ignore,
    fields: Sequence[str] = TEXT_FIELDS,
    detect_encoding: bool = False,
) -> Iterator[Document]:
    """The documents of one file of any kind that Ensue reads, in order; see `read_documents`.

    Whatever is wrong with the file goes to `skipped`, and what came before it is kept.
    """
    try:
        size = file.path.stat().st_size
    except OSError as error:
        skipped.add(file.name, "the file cannot be read", str(error.strerror))
        return
    progress = FileProgress(size, on_bytes)
    given = 0
    try:
        for document in _read_file(file, size, skipped, progress, tuple(fields), detect_encoding):
            yield document
            given += 1
    except Unreadable as error:
        if file.begin and error.reason == EMPTY:
            return  # one line or member of the piece before is all of it
        after = f"; the {given:,} documents before it are kept" if given else ""
        skipped.add(file.name, error.reason, error.detail + after)
    progress.finish()


def _read_files(
    files: Iterable[FoundFile],
    skipped: SkipReport,
    on_bytes: Callable[[int], None],
    fields: tuple[str, ...],
    kinds: Sequence[str] | None,
    detect_encoding: bool,
) -> Iterator[Document]:
    for file in files:
        if kind_of(file.name, kinds):
            yield from read_found_file(
                file, skipped=skipped, on_bytes=on_bytes, fields=fields, detect_encoding=detect_encoding
            )
        else:
            skipped.add(file.name, "not a kind that is read", endings(kinds))
            FileProgress(_size(file), on_bytes).finish()


def _size(file: FoundFile) -> int:
    try:
        return file.path.stat().st_size
    except OSError:
        return 0


def _read_file(
    file: FoundFile,
    size: int,
    skipped: SkipReport,
    progress: FileProgress,
    fields: tuple[str, ...],
    detect_encoding: bool,
) -> Iterator[Document]:
    kind_and_packing = kind_of(file.name)
    if kind_and_packing is None:
        raise Unreadable("not a kind that is read", endings(None))
    if size == 0:
        raise Unreadable(EMPTY)
    kind, packing = kind_and_packing
    chunks = read_chunks(file.path, packing, progress)
    if kind == ".parquet":
        yield from _read_parquet_file(file, packing, skipped, progress, fields)
    elif kind == ".jsonl":
        if file.end is not None:
            chunks = read_line_stretch(file.path, file.begin, file.end)
        yield from read_json_lines(chunks, file.name_of_piece, skipped=skipped, fields=fields)
    elif kind in (".warc", ".wet"):
        stretch = file.begin, file.end
        yield from read_archive(
            file.path, packing, file.name_of_piece, skipped=skipped, progress=progress, stretch=stretch
        )
    elif kind in (".html", ".htm"):
        yield from read_html(chunks, file.name)
    elif kind in OFFICE_KINDS:
        yield from _read_office_file(file, kind, packing, progress)
    else:
        yield from read_plain_text(chunks, file.name, detect_encoding=detect_encoding)


def read_plain_text(chunks: Iterable[bytes], name: str, *, detect_encoding: bool = False) -> Iterator[Document]:
    """A text as documents of at most DOCUMENT_CHARACTERS; their texts joined are the text of the file.

    A text that needs no cutting is one document under its own name; the parts of one that does are `name#1`, `name#2`.
    Raises Unreadable where the file stops being text, and for one without anything to read.
    """
    yield from _cut(text_chunks(chunks, detect_encoding=detect_encoding), name, {})


def _cut(texts: Iterable[str], name: str, meta: Mapping[str, str]) -> Iterator[Document]:
    waiting = ""
    part = 0
    for text in texts:
        waiting += text
        while len(waiting) > DOCUMENT_CHARACTERS:
            # Looks only at what fits, so the parts do not depend on how the file was read or compressed.
            end = cut_point(waiting, DOCUMENT_CHARACTERS * 3 // 4, DOCUMENT_CHARACTERS)
            part += 1
            piece, waiting = waiting[:end], waiting[end:]
            yield Document.of(piece, f"{name}#{part}", {**meta, "part": str(part)})
    if part and waiting:
        yield Document.of(waiting, f"{name}#{part + 1}", {**meta, "part": str(part + 1)})
    elif waiting and not waiting.isspace():
        yield Document.of(waiting, name, meta)
    elif not part:
        raise Unreadable(EMPTY, "white space only" if waiting else "")


def _read_office_file(file: FoundFile, kind: str, packing: str, progress: FileProgress) -> Iterator[Document]:
    if not packing:
        with open_office_file(file.path, kind) as content:
            yield from _cut(content.texts, file.name, content.meta)
        return
    with tempfile.NamedTemporaryFile(suffix=kind) as unpacked:
        length = 0
        for chunk in read_chunks(file.path, packing, progress):
            unpacked.write(chunk)
            length += len(chunk)
            if length > UNPACKED_BYTES:
                raise Unreadable(TOO_MUCH, f"more than {UNPACKED_BYTES >> 20} MiB")
        unpacked.flush()
        with open_office_file(Path(unpacked.name), kind) as content:
            yield from _cut(content.texts, file.name, content.meta)


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
