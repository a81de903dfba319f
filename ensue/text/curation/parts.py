"""A part: a few megabytes of documents as one Parquet file, or of scanned arrays as one npz, in memory and as bytes."""

from __future__ import annotations

import io
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ensue.core.columns import make_table
from ensue.text.corpus import document_schema
from ensue.text.curation.step import Arrays, number_of
from ensue.text.document import Document

PART_BYTES = 8 << 20
"""Text of a part as it is read, about. It is the same whatever the number of workers, so the parts are too."""

PART_DOCUMENTS = 20_000


@dataclass(frozen=True, order=True)
class PartName:
    """The part `part` of the input unit `unit`, both counted from 0."""

    unit: int
    part: int

    def __str__(self) -> str:
        return f"{self.unit:06d}-{self.part:05d}"

    @classmethod
    def of(cls, text: str) -> PartName:
        """The name that `str` gave."""
        unit, part = text.split("-")
        return cls(int(unit), int(part))

    @property
    def first(self) -> int:
        """The number of its first document; see `CorpusStep`."""
        return number_of(self.unit, self.part, 0)


def in_parts(documents: Iterable[Document]) -> Iterator[list[Document]]:
    """The documents in order, cut after about PART_BYTES of text or PART_DOCUMENTS documents."""
    part: list[Document] = []
    held = 0
    for document in documents:
        part.append(document)
        held += len(document.text.encode("utf-8", "surrogatepass"))
        if held >= PART_BYTES or len(part) >= PART_DOCUMENTS:
            yield part
            part, held = [], 0
    if part:
        yield part


def pack_documents(documents: Sequence[Document]) -> bytes:
    """The documents as a Parquet file with the columns of a corpus; equal documents give equal bytes."""
    from pyarrow import parquet

    columns: list[list[Any]] = [
        [document.id for document in documents],
        [document.source for document in documents],
        [len(document.text.encode()) for document in documents],
        [json.dumps(dict(document.meta), sort_keys=True) for document in documents],
        [document.text for document in documents],
    ]
    buffer = io.BytesIO()
    table = make_table(columns, document_schema())
    parquet.write_table(table, buffer, compression="zstd", use_dictionary=False)
    return buffer.getvalue()


def unpack_documents(data: bytes) -> list[Document]:
    """What `pack_documents` packed."""
    from pyarrow import parquet

    table = parquet.ParquetFile(io.BytesIO(data)).read(use_threads=False)
    rows = zip(*(table.column(name).to_pylist() for name in ("id", "text", "source", "meta")), strict=True)
    return [Document(id, text, source, json.loads(meta)) for id, text, source, meta in rows]


def pack_arrays(arrays: Arrays) -> bytes:
    """Named arrays as an npz file; equal arrays give equal bytes."""
    buffer = io.BytesIO()
    np.savez(buffer, allow_pickle=False, **dict(sorted(arrays.items())))
    return buffer.getvalue()


def unpack_arrays(data: bytes) -> Arrays:
    """What `pack_arrays` packed."""
    with np.load(io.BytesIO(data), allow_pickle=False) as arrays:
        return {name: arrays[name] for name in arrays.files}
