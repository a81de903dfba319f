"""The token folder: all documents' ids in one memory-mapped file, and which document stands where."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ensue.core.columns import column_numbers, make_table
from ensue.core.files import folder_aside, sha256_of
from ensue.text.document import Document
from ensue.tokens.tokenizer import Tokenizer

if TYPE_CHECKING:
    import pyarrow as pa

TOKENS, DOCUMENTS, INDEX = "tokens.bin", "documents.parquet", "shard.json"
FORMAT_VERSION = 1
BATCH_BYTES = 8 << 20
AGAIN = "Copy it again, or write it again with `ensue prepare`."


@dataclass(frozen=True)
class DocumentSpan:
    """A document and the tokens start <= i < stop of the shard that are its own, its end token included.

    `part` is the name of a mixture's part whose shard that is; "" where there is one shard.
    """

    id: str
    source: str
    start: int
    stop: int
    part: str = ""


@dataclass(frozen=True)
class Shard:
    """An opened token folder.

    folder       where it is
    tokens       (N,) memory-mapped uint16 or uint32: each document's ids followed by the end token
    starts       (D,) int64, the first token of each document, ascending
    count        D, the number of documents
    bytes        the UTF-8 length of all documents' text
    vocab_size   ids are below this
    end          the id of the token that ends each document
    fingerprint  of the tokenizer that made the ids
    """

    folder: Path
    tokens: np.ndarray = field(repr=False)
    starts: np.ndarray = field(repr=False)
    count: int
    bytes: int
    vocab_size: int
    end: int
    fingerprint: str

    @classmethod
    def open(cls, folder: Path, *, verify: bool = False) -> Shard:
        """Open the folder `write_shard` wrote, without reading its tokens.

        Raises FileNotFoundError where there is none, ValueError naming the file whose size is not the recorded one, or,
        with `verify`, whose SHA-256 is not.
        """
        folder = Path(folder)
        index = _read_index(folder / INDEX)
        for name, recorded in index["files"].items():
            _check_file(folder / name, recorded, verify)
        dtype = np.dtype(index["dtype"])
        starts, stop = _read_starts(folder / DOCUMENTS)
        if stop != index["tokens"] or len(starts) != index["documents"]:
            raise ValueError(f"{folder / DOCUMENTS} does not describe {folder / TOKENS}. {AGAIN}")
        tokens = np.memmap(folder / TOKENS, dtype=dtype, mode="r", shape=(index["tokens"],))
        return cls(
            folder=folder,
            tokens=tokens,
            starts=starts,
            count=index["documents"],
            bytes=index["bytes"],
            vocab_size=index["vocab_size"],
            end=index["end"],
            fingerprint=index["fingerprint"],
        )

    def document_ids(self, indices: Sequence[int] | np.ndarray) -> list[str]:
        """The ids of the documents at these places."""
        ids: list[str] = self._table.column("id").take(np.asarray(indices, np.int64)).to_pylist()
        return ids

    def place_of(self, id: str) -> int | None:
        """Which document, counted from 0, has this id; None if none has. Reads all ids."""
        import pyarrow.compute as compute

        place: int = compute.index(self._table.column("id"), id).as_py()
        return None if place < 0 else place

    @cached_property
    def tokens_sha256(self) -> str:
        """What the SHA-256 of the token file is, by the folder's own index."""
        return str(_read_index(self.folder / INDEX)["files"][TOKENS]["sha256"])

    @cached_property
    def sources(self) -> list[str]:
        """Where each document came from, in order."""
        sources: list[str] = self._table.column("source").to_pylist()
        return sources

    @cached_property
    def document_bytes(self) -> np.ndarray:
        """(D,) int64, the UTF-8 length of each document's text."""
        return column_numbers(self._table.column("bytes"))

    def documents_between(self, first_token: int, last_token: int) -> list[DocumentSpan]:
        """The documents that hold any of the tokens first_token <= i <= last_token, in order."""
        first, last = np.searchsorted(self.starts, [first_token, last_token], side="right") - 1
        return self.spans(range(int(first), int(last) + 1))

    def spans(self, indices: Sequence[int]) -> list[DocumentSpan]:
        """The documents at these places, with the tokens that are theirs."""
        places = np.asarray(indices, np.int64)
        rows = self._table.select(["id", "source"]).take(places).to_pylist()
        stops = np.append(self.starts[1:], len(self.tokens))
        bounds = zip(self.starts[places].tolist(), stops[places].tolist(), strict=True)
        return [DocumentSpan(**row, start=start, stop=stop) for row, (start, stop) in zip(rows, bounds, strict=True)]

    def whole_documents(self, limit_tokens: int) -> tuple[int, int]:
        """Tokens and text bytes of as many whole documents from the first on as fit in `limit_tokens`, at least one.

        For bits per byte over a part of the shard, whose bytes are known only for whole documents.
        """
        stops = np.append(self.starts[1:], len(self.tokens))
        fitting = max(1, int(np.searchsorted(stops, limit_tokens, side="right")))
        return int(stops[fitting - 1]), int(self.document_bytes[:fitting].sum())

    @cached_property
    def _table(self) -> pa.Table:
        import pyarrow.parquet as parquet

        with parquet.ParquetFile(self.folder / DOCUMENTS) as file:
            return file.read(["id", "source", "bytes"])


def write_shard(
    documents: Iterable[Document],
    folder: Path,
    *,
    tokenizer: Tokenizer,
    on_documents: Callable[[int, int], None] = lambda documents, text_bytes: None,
) -> Shard:
    """Encode documents into a token folder, which exists whole or not at all; an existing one is replaced.

    Memory does not depend on how many documents there are. `on_documents` is called with the documents and text bytes
    done so far. Raises ValueError for no documents at all, or for one that is not text, naming it.
    """
    import pyarrow.parquet as parquet

    dtype = np.dtype("<u2") if tokenizer.vocab_size <= 1 << 16 else np.dtype("<u4")
    count = tokens = text_bytes = 0
    digest = hashlib.sha256()
    with folder_aside(Path(folder)) as aside:
        schema = _schema()
        with (aside / TOKENS).open("wb") as file, parquet.ParquetWriter(aside / DOCUMENTS, schema) as writer:
            for batch, sizes in _batches(documents):
                ids, lengths = _encode(batch, tokenizer, dtype)
                starts = tokens + np.cumsum(lengths) - lengths
                columns = [[document.id for document in batch], [document.source for document in batch]]
                writer.write_table(make_table([*columns, starts, lengths, sizes], schema))
                written = ids.tobytes()
                file.write(written)
                digest.update(written)
                count, tokens, text_bytes = count + len(batch), tokens + len(ids), text_bytes + sum(sizes)
                on_documents(count, text_bytes)
        if count == 0:
            raise ValueError("There are no documents to tokenize; give files or folders that hold text.")
        index = {
            "format": FORMAT_VERSION,
            "tokens": tokens,
            "documents": count,
            "bytes": text_bytes,
            "dtype": dtype.str,
            "vocab_size": tokenizer.vocab_size,
            "end": tokenizer.end,
            "fingerprint": tokenizer.fingerprint,
            "files": {
                TOKENS: {"bytes": (aside / TOKENS).stat().st_size, "sha256": digest.hexdigest()},
                DOCUMENTS: {"bytes": (aside / DOCUMENTS).stat().st_size, "sha256": sha256_of(aside / DOCUMENTS)},
            },
        }
        text = json.dumps({**index, "sha256": _index_digest(index)}, indent=1)
        (aside / INDEX).write_text(text + "\n", encoding="utf-8")
    return Shard.open(folder)


def _schema() -> pa.Schema:
    import pyarrow as pa

    numbers = [(name, pa.int64()) for name in ("start", "length", "bytes")]
    return pa.schema([("id", pa.string()), ("source", pa.string()), *numbers])


def _batches(documents: Iterable[Document]) -> Iterator[tuple[list[Document], list[int]]]:
    """Documents in order, about 8 MB of text at a time, with the UTF-8 length of each."""
    batch: list[Document] = []
    sizes: list[int] = []
    held = 0
    for document in documents:
        batch.append(document)
        sizes.append(_utf8_length(document))
        held += sizes[-1] + len(document.id) + len(document.source)
        if held >= BATCH_BYTES:
            yield batch, sizes
            batch, sizes, held = [], [], 0
    if batch:
        yield batch, sizes


def _utf8_length(document: Document) -> int:
    try:
        return len(document.text) if document.text.isascii() else len(document.text.encode("utf-8"))
    except UnicodeEncodeError as error:
        raise ValueError(
            f"Document {document.id} from {document.source} holds a lone surrogate at character {error.start}, which "
            "is not text; read its file with errors='replace' or leave it out."
        ) from error


def _encode(batch: list[Document], tokenizer: Tokenizer, dtype: np.dtype[Any]) -> tuple[np.ndarray, np.ndarray]:
    """The batch's ids in one array, each document's followed by the end token, and their lengths."""
    encoded = tokenizer.encode_batch([document.text for document in batch])
    lengths = np.array([len(ids) + 1 for ids in encoded], np.int64)
    end = np.array([tokenizer.end], np.int32)
    joined = np.concatenate([part for ids in encoded for part in (ids, end)])
    return joined.astype(dtype), lengths


def _index_digest(index: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(index, sort_keys=True).encode()).hexdigest()


def _read_index(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise FileNotFoundError(
            f"{path.parent} is not a token folder: it has no {INDEX}; type: ensue prepare TEXT --out DATA"
        )
    try:
        index = json.loads(path.read_text(encoding="utf-8"))
        recorded = index.pop("sha256")
    except (ValueError, KeyError, AttributeError, TypeError) as error:
        raise ValueError(f"{path} is damaged ({error!r}). {AGAIN}") from error
    if _index_digest(index) != recorded:
        raise ValueError(f"{path} is not what was written: its own SHA-256 differs. {AGAIN}")
    if index["format"] != FORMAT_VERSION:
        raise ValueError(f"{path} has format {index['format']}, this Ensue reads {FORMAT_VERSION}. Write it again.")
    return dict(index)


def _check_file(path: Path, recorded: dict[str, Any], verify: bool) -> None:
    if not path.is_file():
        raise ValueError(f"{path} is missing. {AGAIN}")
    if path.stat().st_size != recorded["bytes"]:
        raise ValueError(f"{path} has {path.stat().st_size:,} bytes, {recorded['bytes']:,} were written. {AGAIN}")
    if verify and sha256_of(path) != recorded["sha256"]:
        raise ValueError(f"{path} is not what was written: its SHA-256 differs from the one in {INDEX}. {AGAIN}")


def _read_starts(path: Path) -> tuple[np.ndarray, int]:
    """Each document's first token, and one past the last document's last."""
    import pyarrow as pa
    import pyarrow.parquet as parquet

    try:
        with parquet.ParquetFile(path) as file:
            table = file.read(["start", "length"])
    except (pa.ArrowException, OSError) as error:
        raise ValueError(f"{path} is damaged ({error}). {AGAIN}") from error
    starts, lengths = (column_numbers(table.column(name)) for name in ("start", "length"))
    stops = starts + lengths
    if not len(starts) or starts[0] != 0 or (starts[1:] != stops[:-1]).any():
        raise ValueError(f"{path} is damaged: its documents do not follow one another. {AGAIN}")
    return starts, int(stops[-1])
