"""Token folders: what is written is what is read, damage is named, memory does not grow with the corpus."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow.parquet
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ensue.text.document import Document
from ensue.tokens.shards import DocumentSpan, Shard, write_shard
from ensue.tokens.tokenizer import load_tokenizer

TEXTS = ["The first document.", "", "第二 документ 🙂\n\nwith lines", "<|endoftext|> spelt out", "x" * 3000]


@pytest.fixture
def documents():
    return [Document.of(text, f"file-{number}.txt") for number, text in enumerate(TEXTS)]


@pytest.fixture
def folder(documents, small_tokenizer, tmp_path):
    write_shard(documents, tmp_path / "shard", tokenizer=small_tokenizer)
    return tmp_path / "shard"


def test_each_document_is_its_ids_and_the_end_token(documents, small_tokenizer, folder):
    shard = Shard.open(folder, verify=True)
    expected = [[*small_tokenizer.encode(text), small_tokenizer.end] for text in TEXTS]
    assert shard.tokens.tolist() == [token for ids in expected for token in ids]
    assert shard.tokens.dtype == np.uint16
    assert (folder / "tokens.bin").read_bytes() == shard.tokens.astype("<u2").tobytes()
    assert shard.starts.tolist() == [sum(map(len, expected[:place])) for place in range(len(TEXTS))]
    assert (shard.count, shard.bytes) == (5, sum(len(text.encode()) for text in TEXTS))
    assert (shard.end, shard.vocab_size) == (small_tokenizer.end, 1000)
    assert shard.fingerprint == small_tokenizer.fingerprint
    assert shard.document_ids([3, 0]) == [documents[3].id, documents[0].id]
    assert shard.sources == [document.source for document in documents]
    assert shard.document_bytes.tolist() == [len(text.encode()) for text in TEXTS]
    table = pyarrow.parquet.read_table(folder / "documents.parquet")
    assert table.column_names == ["id", "source", "start", "length", "bytes"]
    assert table.column("length").to_pylist() == [len(ids) for ids in expected]


def test_a_large_vocabulary_takes_four_bytes(small_tokenizer, documents, tmp_path):
    class Large:
        vocab_size, end, fingerprint = 70_000, 69_999, "f"

        def encode_batch(self, texts):
            return [np.array([66_000, 5], np.int32) for _ in texts]

    shard = write_shard(documents[:2], tmp_path / "large", tokenizer=Large())
    assert shard.tokens.dtype == np.uint32
    assert shard.tokens.tolist() == [66_000, 5, 69_999] * 2


def test_batches_of_any_size_write_the_same_bytes(documents, small_tokenizer, folder, tmp_path, monkeypatch):
    monkeypatch.setattr("ensue.tokens.shards.BATCH_BYTES", 30)
    done = []
    write_shard(
        iter(documents), tmp_path / "again", tokenizer=small_tokenizer, on_documents=lambda *now: done.append(now)
    )
    assert (tmp_path / "again" / "tokens.bin").read_bytes() == (folder / "tokens.bin").read_bytes()
    assert Shard.open(tmp_path / "again").starts.tolist() == Shard.open(folder).starts.tolist()
    assert len(done) > 2
    assert done[-1] == (5, Shard.open(folder).bytes)


@settings(max_examples=200)
@given(data=st.data())
def test_documents_between_are_those_a_search_finds(data, folder_of_many):
    shard = folder_of_many
    first = data.draw(st.integers(0, len(shard.tokens) - 1))
    last = data.draw(st.integers(first, len(shard.tokens) - 1))
    stops = [*shard.starts.tolist()[1:], len(shard.tokens)]
    expected = [
        DocumentSpan(*shard.document_ids([place]), shard.sources[place], start, stop)
        for place, (start, stop) in enumerate(zip(shard.starts.tolist(), stops, strict=True))
        if start <= last and stop > first
    ]
    assert shard.documents_between(first, last) == expected


@pytest.fixture(scope="module")
def folder_of_many(small_tokenizer, tmp_path_factory):
    documents = [Document.of("ab " * (number % 7), f"{number % 3}") for number in range(40)]
    return write_shard(documents, tmp_path_factory.mktemp("many") / "shard", tokenizer=small_tokenizer)


@settings(max_examples=50)
@given(limit=st.integers(1, 400))
def test_whole_documents_fit_the_limit(limit, folder_of_many):
    shard = folder_of_many
    tokens, text_bytes = shard.whole_documents(limit)
    stops = [*shard.starts.tolist()[1:], len(shard.tokens)]
    assert tokens in stops
    assert tokens <= limit or tokens == stops[0]
    following = [stop for stop in stops if stop > tokens]
    assert not following or following[0] > limit
    assert text_bytes == shard.document_bytes[: stops.index(tokens) + 1].sum()


def test_no_documents_and_no_text_are_refused_and_leave_nothing(small_tokenizer, tmp_path, folder, documents):
    with pytest.raises(ValueError, match="no documents"):
        write_shard([], tmp_path / "empty", tokenizer=small_tokenizer)
    bad = Document.of("ab\udc80", "broken.txt")
    with pytest.raises(ValueError, match=r"broken\.txt holds a lone surrogate at character 2"):
        write_shard([documents[0], bad], folder, tokenizer=small_tokenizer)
    assert Shard.open(folder, verify=True).count == 5
    assert [path.name for path in tmp_path.iterdir()] == ["shard"]


@pytest.mark.parametrize("name", ["tokens.bin", "documents.parquet", "shard.json"])
def test_truncation_is_refused_naming_the_file(folder, name):
    whole = (folder / name).read_bytes()
    for length in (0, len(whole) // 2, len(whole) - 2):
        (folder / name).write_bytes(whole[:length])
        with pytest.raises(ValueError, match=name.replace(".", r"\.")):
            Shard.open(folder)
    (folder / name).unlink()
    with pytest.raises((ValueError, FileNotFoundError), match=name.replace(".", r"\.")):
        Shard.open(folder)


@settings(max_examples=60)
@given(data=st.data())
def test_a_flipped_bit_is_refused_naming_the_file(data, flipping):
    folder, wholes = flipping
    name = data.draw(st.sampled_from(sorted(wholes)))
    bit = data.draw(st.integers(0, len(wholes[name]) * 8 - 1))
    changed = bytearray(wholes[name])
    changed[bit // 8] ^= 1 << bit % 8
    (folder / name).write_bytes(changed)
    try:
        if changed.strip() != wholes[name].strip():
            with pytest.raises(ValueError, match=name.replace(".", r"\.")):
                Shard.open(folder, verify=True)
    finally:
        (folder / name).write_bytes(wholes[name])


@pytest.fixture(scope="module")
def flipping(small_tokenizer, tmp_path_factory):
    folder = tmp_path_factory.mktemp("flipping") / "shard"
    write_shard([Document.of(text, "here") for text in TEXTS], folder, tokenizer=small_tokenizer)
    return folder, {path.name: path.read_bytes() for path in folder.iterdir()}


def test_a_folder_that_is_none_says_so(tmp_path):
    with pytest.raises(FileNotFoundError, match="ensue prepare"):
        Shard.open(tmp_path)


def test_a_format_of_the_future_is_refused(folder):
    import hashlib

    index = json.loads((folder / "shard.json").read_text())
    del index["sha256"]
    index["format"] = 99
    digest = hashlib.sha256(json.dumps(index, sort_keys=True).encode()).hexdigest()
    (folder / "shard.json").write_text(json.dumps({**index, "sha256": digest}))
    with pytest.raises(ValueError, match=r"shard\.json has format 99"):
        Shard.open(folder)


MEASURE = """
import random, sys
from pathlib import Path
from ensue.text.document import Document
from ensue.tokens.shards import write_shard
from ensue.tokens.tokenizer import load_tokenizer
folder = Path(sys.argv[1])
chance = random.Random(0)
words = [chance.randbytes(4).hex() for _ in range(5000)]
texts = [" ".join(chance.choices(words, k=7000)) for _ in range(20)]
documents = (Document.of(f"{number} {texts[number % 20]}", str(number)) for number in range(2000))
def show(count, text_bytes):
    # Not getrusage: its peak is inherited from the process that started this one.
    print(text_bytes, next(line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM")))
write_shard(documents, folder / "shard", tokenizer=load_tokenizer(folder), on_documents=show)
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="peak memory is read from Linux's /proc")
def test_memory_does_not_grow_with_the_corpus(small_tokenizer, tmp_path):
    small_tokenizer.save(tmp_path)
    command = [sys.executable, "-c", MEASURE, str(tmp_path)]
    out = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    peaks = dict(tuple(map(int, line.split())) for line in out.splitlines())
    first = next(peak for size, peak in peaks.items() if size > 25e6)
    assert max(peaks) > 120e6
    # In kB, over 95 MB more text of few distinct words; of those fastokens remembers up to about 170 MB.
    assert max(peaks.values()) - first < 40_000, peaks


def test_a_gpt1_shard_ends_documents_with_a_newline_token(gpt1_files, tmp_path):
    pytest.importorskip("spacy", reason="GPT's tokenizer needs the extra ensue[gpt1]")
    tokenizer = load_tokenizer(gpt1_files)
    shard = write_shard([Document.of("one\ntwo", "a"), Document.of("three", "b")], tmp_path / "s", tokenizer=tokenizer)
    assert shard.tokens.tolist() == [*tokenizer.encode("one\ntwo"), shard.end, *tokenizer.encode("three"), shard.end]
