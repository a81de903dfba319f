"""Documents on disk: a folder of Parquet files that exists whole or not at all, written and read in bounded memory."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ensue.core.files import folder_aside
from ensue.text.document import Document

if TYPE_CHECKING:
    import pyarrow

GROUP_BYTES = 16 << 20
_COLUMNS = ("id", "source", "bytes", "meta", "text")


@dataclass(frozen=True)
class CorpusSummary:
    """What was written: documents, UTF-8 bytes of their texts, the files in order, and repeats that were left out."""

    documents: int
    bytes: int
    files: tuple[str, ...]
    repeated: int


def ignore(_: object) -> None:
    """A callback for whoever does not want to know."""


def write_documents(
    documents: Iterable[Document],
    folder: Path,
    *,
    shard_bytes: int = 256 << 20,
    on_document: Callable[[Document], None] = ignore,
) -> CorpusSummary:
    """Write documents to `folder` as `documents-00000.parquet` and so on, in the order they come.

    A file is closed once it holds `shard_bytes` bytes of text. A document whose id came before (the same text from the
    same source) is left out and counted. `on_document` is told each document written. Raises ValueError if there is not
    one document; then, and after any other error, `folder` is what it was.
    """
    with folder_aside(folder) as aside:
        writer = _Writer(aside, shard_bytes)
        try:
            for document in documents:
                if writer.add(document):
                    on_document(document)
        finally:
            writer.close()
        if not writer.documents:
            raise ValueError(
                f"There is no text to write to {folder}: no document could be read. "
                "The report of what was skipped says why."
            )
        return CorpusSummary(writer.documents, writer.bytes, tuple(writer.files), writer.repeated)


class _Writer:
    """Gathers documents into row groups of about GROUP_BYTES and files of about `shard_bytes`."""

    def __init__(self, folder: Path, shard_bytes: int) -> None:
        self._folder = folder
        self._shard_bytes = shard_bytes
        self._seen: set[bytes] = set()
        self._rows: list[tuple[str, str, int, str, str]] = []
        self._group_bytes = 0
        self._file_bytes = 0
        self._file: Any = None
        self.documents = self.bytes = self.repeated = 0
        self.files: list[str] = []

    def add(self, document: Document) -> bool:
        """Take one document; False if it was taken before."""
        key = bytes.fromhex(document.id)
        if key in self._seen:
            self.repeated += 1
            return False
        self._seen.add(key)
        size = len(document.text.encode())
        meta = json.dumps(dict(document.meta), sort_keys=True)
        self._rows.append((document.id, document.source, size, meta, document.text))
        self.documents += 1
        self.bytes += size
        self._group_bytes += size
        self._file_bytes += size
        if self._group_bytes >= GROUP_BYTES or len(self._rows) >= 100_000 or self._file_bytes >= self._shard_bytes:
            self._write_group()
        if self._file_bytes >= self._shard_bytes:
            self.close()
        return True

    def _write_group(self) -> None:
        import pyarrow
        from pyarrow import parquet

        if not self._rows:
            return
        schema = document_schema()
        if self._file is None:
            self.files.append(f"documents-{len(self.files):05d}.parquet")
            path = self._folder / self.files[-1]
            self._file = parquet.ParquetWriter(path, schema, compression="zstd", use_dictionary=False)
        self._file.write_table(pyarrow.table(list(map(list, zip(*self._rows, strict=True))), schema=schema))
        self._rows, self._group_bytes = [], 0

    def close(self) -> None:
        """Finish the file that is open, if one is."""
        self._write_group()
        if self._file is not None:
            self._file.close()
        self._file, self._file_bytes = None, 0


def read_corpus(folder: Path) -> Iterator[Document]:
    """The documents of a folder that `write_documents` wrote, in the order written, a few at a time in memory.

    Raises FileNotFoundError or ValueError, naming the file, if it is no such folder or one of its files is damaged.
    """
    return (
        Document(id, text, source, json.loads(meta))
        for id, source, meta, text in _rows(corpus_files(folder), ("id", "source", "meta", "text"))
    )


def corpus_columns(folder: Path) -> Iterator[tuple[str, str, int]]:
    """(id, source, UTF-8 bytes of the text) of each document in the order written, without reading the texts."""
    return ((id, source, size) for id, source, size in _rows(corpus_files(folder), ("id", "source", "bytes")))


def corpus_files(folder: Path) -> list[Path]:
    """The Parquet files of a corpus in order. Raises FileNotFoundError or ValueError if `folder` is not one."""
    if not folder.exists():
        raise FileNotFoundError(
            f"{folder} does not exist; `ensue prepare TEXT --out {folder}` makes it from your text."
        )
    files = sorted(folder.glob("documents-*.parquet"))
    if not files:
        raise ValueError(
            f"{folder} holds no documents-*.parquet, so it is not a folder of prepared documents; "
            f"`ensue prepare {folder} --out DATA` makes one from the text in it."
        )
    return files


def _rows(files: Sequence[Path], columns: Sequence[str]) -> Iterator[tuple[Any, ...]]:
    import pyarrow
    from pyarrow import parquet

    for path in files:
        try:
            with parquet.ParquetFile(path, pre_buffer=False, buffer_size=1 << 20) as file:
                missing = [name for name in columns if name not in file.schema_arrow.names]
                if missing:
                    raise ValueError(
                        f"{path} has no column {missing[0]!r}, so Ensue did not write it; prepare the text again."
                    )
                # A row group is what the writer held in memory at once, so the reader can too.
                for group in range(file.num_row_groups):
                    table = file.read_row_group(group, columns=list(columns), use_threads=False)
                    yield from zip(*(table.column(name).to_pylist() for name in columns), strict=True)
        except (OSError, pyarrow.ArrowException) as error:
            detail = " ".join(str(error).split())[:300]
            raise ValueError(f"{path} is damaged ({detail}); prepare the text again with `ensue prepare`.") from error


def document_schema() -> pyarrow.Schema:
    """The columns of a corpus file: id, source, UTF-8 bytes of the text, meta as JSON, text."""
    import pyarrow

    kinds = {"bytes": pyarrow.int64()}
    return pyarrow.schema([(name, kinds.get(name, pyarrow.string())) for name in _COLUMNS])
