"""From a folder of text to prepared data: what it says of itself is so, and what cannot be prepared leaves nothing."""

import gzip
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from ensue.recipes.data import Data, choose_vocabulary, is_data, prepare_documents, prepare_files
from ensue.recipes.display import Display
from ensue.text.corpus import read_corpus
from ensue.text.document import Document
from ensue.tokens.byte_level import train_byte_level
from ensue.tokens.shards import Shard

Ensue = Callable[..., tuple[int, str]]


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def prepare(text: Path, out: Path, vocab: int | None = 260) -> Data:
    return prepare_files([text], out, vocab=vocab, tokenizer=None, seed=0, display=Display())


def texts_of(shard: Shard, data: Data) -> dict[str, str]:
    """Each document's text by its id, read back from its tokens."""
    spans = shard.spans(range(shard.count))
    assert all(shard.tokens[span.stop - 1] == data.tokenizer.end for span in spans)
    return {span.id: data.tokenizer.decode(shard.tokens[span.start : span.stop - 1].tolist()) for span in spans}


def test_the_facts_add_up(corpus: Path, data: Data) -> None:
    facts = data.facts
    texts = {path.read_text(encoding="utf-8") for path in corpus.iterdir()}
    assert facts.documents == len(texts)
    assert facts.bytes == sum(len(text.encode()) for text in texts)
    train, held_out = texts_of(data.train, data), texts_of(data.held_out, data)
    assert not train.keys() & held_out.keys()
    assert not set(train.values()) & set(held_out.values())
    assert {*train.values(), *held_out.values()} == texts
    assert len(held_out) == 2
    assert facts.train_tokens == len(data.train.tokens)
    assert facts.held_out_tokens == len(data.held_out.tokens)
    assert facts.held_out_bytes == sum(len(text.encode()) for text in held_out.values()) == data.held_out.bytes
    assert data.train.bytes + data.held_out.bytes == facts.bytes
    assert facts.vocab == data.tokenizer.vocab_size == 300
    assert facts.tokenizer == data.tokenizer.fingerprint == data.train.fingerprint
    assert facts.held_out == "held out: 2 of 24 files, 7.7% of the text"
    assert facts.skipped == {}
    assert is_data(data.path)
    assert not is_data(corpus)


def test_the_tokenizer_has_not_read_what_is_held_out(data: Data) -> None:
    train, held_out = texts_of(data.train, data), texts_of(data.held_out, data)
    order = [document.text for document in read_corpus(data.path / "documents")]
    kept = [text for text in order if text in train.values()]
    assert data.tokenizer.fingerprint == train_byte_level(iter(kept), vocab_size=300).fingerprint
    assert data.tokenizer.fingerprint != train_byte_level(iter(order), vocab_size=300).fingerprint
    assert held_out


def test_the_same_text_makes_the_same_data(corpus: Path, data: Data, tmp_path: Path) -> None:
    again = prepare(corpus, tmp_path / "again", vocab=300)
    assert np.array_equal(again.train.tokens, data.train.tokens)
    assert np.array_equal(again.held_out.tokens, data.held_out.tokens)
    assert again.facts == data.facts
    other = prepare_files([corpus], tmp_path / "other", vocab=300, tokenizer=None, seed=1, display=Display())
    assert texts_of(other.held_out, other).keys() != texts_of(data.held_out, data).keys()


def test_a_given_tokenizer_is_kept(corpus: Path, data: Data, tmp_path: Path, ensue: Ensue) -> None:
    code, said = ensue("prepare", corpus, "--out", tmp_path / "data", "--tokenizer", data.path / "tokenizer")
    assert code == 0, said
    assert np.array_equal(Data(tmp_path / "data").train.tokens, data.train.tokens)
    code, said = ensue("prepare", corpus, "--out", tmp_path / "b", "--tokenizer", data.path / "tokenizer", "--vocab", 9)
    assert (code, "only one of the two" in said) == (2, True)


def test_what_was_skipped_is_counted_and_named(corpus: Path, tmp_path: Path, ensue: Ensue) -> None:
    text = Path(shutil.copytree(corpus, tmp_path / "text"))
    (text / "latin.txt").write_bytes("déjà vu".encode("latin-1"))
    (text / "picture.png").write_bytes(bytes(range(256)))
    rows = [json.dumps({"text": "One line of JSON."}), "not JSON at all", json.dumps({"text": "And another line."})]
    (text / "rows.jsonl.gz").write_bytes(gzip.compress("\n".join(rows).encode()))
    code, said = ensue("prepare", text, "--out", tmp_path / "data", "--vocab", 300)
    assert code == 0, said
    facts = Data(tmp_path / "data").facts
    assert facts.documents == 24 + 2
    assert sum(facts.skipped.values()) == 3
    log = [json.loads(line) for line in (tmp_path / "data" / "skipped.jsonl").read_text().splitlines()]
    assert {row["source"] for row in log} == {"text/latin.txt", "text/picture.png", "text/rows.jsonl.gz:2"}
    assert {row["reason"] for row in log} == set(facts.skipped)
    assert all(row["source"] in said and row["reason"] in said for row in log)


def test_existing_data_is_refused_and_unchanged(corpus: Path, data: Data, ensue: Ensue) -> None:
    before = contents(data.path)
    code, said = ensue("prepare", corpus, "--out", data.path)
    assert code == 2
    assert f"{data.path} already exists" in said
    assert contents(data.path) == before


def binary(folder: Path) -> None:
    (folder / "a.txt").write_bytes(bytes(range(256)) * 20)
    (folder / "b.txt.gz").write_bytes(b"not gzip")


def picture(folder: Path) -> None:
    (folder / "a.png").write_bytes(bytes(range(256)))


def blank(folder: Path) -> None:
    (folder / "a.txt").write_text(" \n\n")


def short(folder: Path) -> None:
    (folder / "a.txt").write_text("A line that says little. " * 9)


BAD: dict[str, tuple[Callable[[Path], None], list[str], list[str]]] = {
    "empty": (lambda folder: None, [], ["holds no text that can be read", ".jsonl"]),
    "missing": (lambda folder: folder.rmdir(), [], ["does not exist"]),
    "binary": (binary, [], ["there is no text in", "not UTF-8 text", "text/a.txt", "text/b.txt.gz"]),
    "another kind": (picture, [], ["holds no text that can be read", ".txt"]),
    "blank": (blank, [], ["text/a.txt"]),
    "large vocabulary": (short, ["--vocab", "9000"], ["at most ", "not 9000", "Ask for "]),
    "small vocabulary": (short, ["--vocab", "100"], ["A vocabulary of 100 is too small"]),
    "no tokenizer": (short, ["--tokenizer", "text"], ["no tokenizer"]),
}


@pytest.mark.parametrize("name", BAD)
def test_what_cannot_be_prepared_leaves_nothing(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ensue: Ensue
) -> None:
    monkeypatch.chdir(tmp_path)
    make, options, expected = BAD[name]
    Path("text").mkdir()
    make(Path("text"))
    left = sorted(path.name for path in tmp_path.iterdir())
    code, said = ensue("prepare", "text", "--out", "data", *options)
    assert code == 2, said
    assert all(part in said for part in expected), said
    assert "Traceback" not in said
    assert sorted(path.name for path in tmp_path.iterdir()) == left
    code, again = ensue("train", "text", "--run", "run", "--steps", 2, *options)
    assert code == 2, again
    assert all(part in again for part in expected), again
    assert sorted(path.name for path in tmp_path.iterdir()) == left


def test_less_text_than_one_context(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ensue: Ensue) -> None:
    monkeypatch.chdir(tmp_path)
    short(tmp_path)
    shape = ["--layers", 1, "--width", 16, "--heads", 2, "--batch.start", 1, "--batch.end", 1]
    wanted = ["train", "a.txt", "--run", "run", "--steps", 2, "--vocab", 260, "--recipe", "gpt2", *shape]
    code, said = ensue(*wanted)
    assert code == 2
    tokens = len(prepare(Path("a.txt"), tmp_path / "data").train.tokens)
    assert 128 <= tokens < 256
    assert f"{tokens} training tokens, less than one context of 1,024" in said
    assert "--context 128" in said
    assert not (tmp_path / "run").exists()
    code, said = ensue(*wanted, "--context", 128, "--sample_every", 0)
    assert code == 0, said


@pytest.mark.parametrize("options", [["--device", "cuda:99"], ["--micro_batch", "0"], ["--precision", "fp8"]])
def test_a_run_that_cannot_begin_leaves_nothing(
    options: list[str], data: Data, tiny: list[str], tmp_path: Path, ensue: Ensue
) -> None:
    shape = [*tiny, "--batch.start", 1, "--batch.end", 1, "--recipe", "gpt2"]
    code, said = ensue("train", data.path, "--run", tmp_path / "run", "--steps", 2, *shape, *options)
    assert code == 2, said
    assert not list(tmp_path.iterdir())


def test_data_is_checked_when_it_is_opened(data: Data, corpus: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"not prepared data.*ensue prepare TEXT --out"):
        Data(corpus)
    copy = Path(shutil.copytree(data.path, tmp_path / "copy"))
    other = prepare(corpus, tmp_path / "other", vocab=299)
    shutil.rmtree(copy / "tokenizer")
    shutil.copytree(other.path / "tokenizer", copy / "tokenizer")
    with pytest.raises(ValueError, match="made with another tokenizer") as refused:
        Data(copy)
    assert str(copy / "train") in str(refused.value)
    broken = Path(shutil.copytree(data.path, tmp_path / "broken"))
    with (broken / "held_out" / "tokens.bin").open("r+b") as file:
        file.truncate(100)
    with pytest.raises(ValueError, match=r"held_out/tokens\.bin"):
        Data(broken)


def test_documents_that_are_split_already(tmp_path: Path) -> None:
    train = [Document.of(f"Text {number} to learn from.", f"{number}.txt") for number in range(5)]
    held = [Document.of(f"Text {number} to be asked about.", f"{number}.txt") for number in range(5, 7)]
    data = prepare_documents(
        iter(train), iter(held), tmp_path / "data", vocab=257, held_out_reason="said so", display=Display()
    )
    assert list(texts_of(data.train, data).values()) == [document.text for document in train]
    assert list(texts_of(data.held_out, data).values()) == [document.text for document in held]
    assert data.facts.held_out == "said so"


def test_the_vocabulary_grows_with_the_text() -> None:
    sizes = [choose_vocabulary(text_bytes, 8192) for text_bytes in (0, 10**4, 10**5, 10**6, 10**7, 10**10)]
    assert sizes == sorted(sizes)
    assert (sizes[0], sizes[-1]) == (257, 8192)
    assert choose_vocabulary(10**10, 4096) == 4096


def test_a_page_of_text_is_enough_for_the_vocabulary_chosen_for_it(tmp_path: Path) -> None:
    text = "It was the best of times, it was the worst of times, it was the age of wisdom. " * 12
    (tmp_path / "page.txt").write_text(text + "\n\nAnd an end.", encoding="utf-8")
    data = prepare_files(
        [tmp_path / "page.txt"], tmp_path / "out", vocab=None, tokenizer=None, seed=0, display=Display()
    )
    assert data.facts.vocab == choose_vocabulary(data.facts.bytes, 8192)
