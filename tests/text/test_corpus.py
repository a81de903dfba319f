"""Documents to Parquet and back, whole or not at all."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pyarrow
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyarrow import parquet

from ensue.text import corpus
from ensue.text.corpus import corpus_columns, corpus_files, read_corpus, write_documents
from ensue.text.document import Document

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)


@settings(max_examples=25)
@given(
    st.lists(st.tuples(texts, texts, st.dictionaries(texts, texts, max_size=2)), min_size=1, max_size=12),
    st.integers(1, 200),
)
def test_what_is_read_is_what_was_written(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[str, str, dict[str, str]]], shard_bytes: int
) -> None:
    folder = tmp_path_factory.mktemp("corpus") / "out"
    documents = [Document.of(*row) for row in rows]
    once = list({document.id: document for document in reversed(documents)}.values())[::-1]
    firsts = [next(d for d in documents if d.id == document.id) for document in documents]
    expected = list({document.id: document for document in firsts}.values())
    summary = write_documents(documents, folder, shard_bytes=shard_bytes)
    assert list(read_corpus(folder)) == expected
    assert [(d.id, d.source, len(d.text.encode())) for d in expected] == list(corpus_columns(folder))
    assert summary.documents == len(once) == len(documents) - summary.repeated
    assert summary.bytes == sum(len(d.text.encode()) for d in expected)
    assert list(summary.files) == [path.name for path in corpus_files(folder)]
    # pyarrow's own reader of whole folders agrees.
    assert parquet.read_table(folder).column("text").to_pylist() == [d.text for d in expected]


def test_files_are_closed_at_their_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(corpus, "GROUP_BYTES", 1000)
    documents = [Document.of("x" * 300, f"{number}.txt") for number in range(100)]
    told: list[Document] = []
    summary = write_documents(documents, tmp_path / "c", shard_bytes=9_000, on_document=told.append)
    assert len(summary.files) == 4
    assert told == documents
    first = parquet.ParquetFile(tmp_path / "c" / summary.files[0])
    assert first.metadata.num_rows == 30
    assert first.metadata.num_row_groups == 8
    assert first.metadata.row_group(0).column(0).compression == "ZSTD"
    assert list(read_corpus(tmp_path / "c")) == documents


def test_an_error_leaves_what_was_there(tmp_path: Path) -> None:
    folder = tmp_path / "c"
    write_documents([Document.of("first", "a.txt")], folder)

    def breaks() -> Iterator[Document]:
        yield Document.of("second", "b.txt")
        raise OSError("No space left on device")

    with pytest.raises(OSError, match="No space"):
        write_documents(breaks(), folder)
    with pytest.raises(ValueError, match="no document could be read"):
        write_documents([], folder)
    assert [document.text for document in read_corpus(folder)] == ["first"]
    assert [path.name for path in tmp_path.iterdir()] == ["c"]


def test_folders_that_are_no_corpus(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="ensue prepare"):
        read_corpus(tmp_path / "none")
    (tmp_path / "text").mkdir()
    with pytest.raises(ValueError, match="ensue prepare"):
        corpus_columns(tmp_path / "text")
    parquet.write_table(pyarrow.table({"text": ["x"]}), tmp_path / "text" / "documents-00000.parquet")
    with pytest.raises(ValueError, match=r"documents-00000\.parquet has no column 'id'"):
        list(read_corpus(tmp_path / "text"))
    write_documents([Document.of("some text " * 500, "a.txt")], tmp_path / "c")
    [file] = corpus_files(tmp_path / "c")
    file.write_bytes(file.read_bytes()[:-40])
    with pytest.raises(ValueError, match=r"documents-00000\.parquet is damaged"):
        list(read_corpus(tmp_path / "c"))
