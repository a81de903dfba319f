"""GPT-3's rules on documents made for them, through scan, decide and judge."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ensue.core.config import from_dict, to_dict
from ensue.text.contamination.cutting import cut_out
from ensue.text.contamination.decontaminate import Decontaminate
from ensue.text.curation.parts import pack_arrays, unpack_arrays
from ensue.text.curation.step import CorpusStep, number_of
from ensue.text.document import Document

SECRET = "the answer which nobody is meant to have read before the day of the examination"
POEM = "床前明月光疑是地上霜舉頭望明月低頭思故鄉"


def filler(count: int, word: str = "plain") -> str:
    return " ".join(f"{word}{number}" for number in range(count))


def run(step: Decontaminate, parts: list[list[str]], folder):
    """The verdicts on texts, as the engine would ask for them; `folder` gets what was decided."""
    out, scratch = folder / "out", folder / "scratch"
    out.mkdir()
    scratch.mkdir()
    documents = [
        [Document.of(text, f"{part}:{row}") for row, text in enumerate(texts)] for part, texts in enumerate(parts)
    ]
    firsts = [number_of(0, part, 0) for part in range(len(parts))]
    scans = [unpack_arrays(pack_arrays(step.scan(part, first))) for part, first in zip(documents, firsts, strict=True)]
    figures = step.decide(iter(scans), out, memory=1 << 28, scratch=scratch)
    verdicts = []
    for part, first in zip(documents, firsts, strict=True):
        judge = step.prepare(out, first, first + len(part))
        verdicts.extend(judge(first + row, document) for row, document in enumerate(part))
    return verdicts, figures, out


@pytest.fixture
def tasks(tmp_path) -> str:
    path = tmp_path / "tasks.jsonl"
    rows = [{"question": "What?", "answers": [SECRET]}, {"question": POEM}]
    path.write_text("\n".join(json.dumps(row, ensure_ascii=False) for row in rows), encoding="utf-8")
    return str(path)


def test_the_gram_and_its_window_go_and_the_rest_is_two_documents(tmp_path, tasks):
    step = Decontaminate((tasks,))
    assert isinstance(step, CorpusStep)
    before, behind = filler(100), filler(100, "other")
    text = f"{before} {SECRET.upper()}! {behind}"
    (clean, dirty), figures, out = run(step, [[before, text]], tmp_path)
    assert clean.documents[0].text == before
    assert not clean.reason
    first, second = dirty.documents
    at = text.index(SECRET.upper())
    assert first.text == text[: at - 200]
    assert second.text == text[at + len(SECRET) + 200 :]
    assert first.meta["part_of"] == second.meta["part_of"] == Document.of(text, "0:1").id
    assert dirty.reason == "evaluation text cut out"
    assert dirty.facts == {
        "grams": 3,
        "places": 1,
        "cut_characters": len(SECRET) + 400,
        "pieces": 2,
        "short_pieces": 0,
        "first_item": f"{tasks}:1",
    }
    assert figures["documents_to_cut"] == 1
    assert figures["grams_found"] == 3
    assert figures["evaluation_items"] == 2
    (row,) = map(json.loads, (out / "review.jsonl").read_text(encoding="utf-8").splitlines())
    assert row == {
        "id": Document.of(text, "0:1").id,
        "source": "0:1",
        "file": tasks,
        "row": 1,
        "grams": 3,
        "text": SECRET,
    }


def test_short_pieces_are_dropped_and_a_single_one_keeps_the_name(tmp_path, tasks):
    texts = [f"{filler(100)} {SECRET} {filler(20)}", f"{filler(20)} {SECRET}"]
    (one, none), _, _ = run(Decontaminate((tasks,)), [texts], tmp_path)
    assert [document.id for document in one.documents] == [Document.of(texts[0], "0:0").id]
    assert one.documents[0].text == texts[0][: texts[0].index(SECRET) - 200]
    assert none.documents == ()
    assert none.reason == "little but evaluation text"


def test_a_document_in_more_pieces_than_allowed_is_dropped(tmp_path, tasks):
    texts = [f" {SECRET} ".join([filler(100)] * pieces) for pieces in (10, 11)]
    (ten, eleven), _, _ = run(Decontaminate((tasks,)), [texts], tmp_path)
    assert len(ten.documents) == 10
    assert eleven.documents == ()
    assert eleven.reason == "evaluation text in too many places"
    assert eleven.facts["pieces"] == 11


def test_what_stands_in_many_documents_is_left_alone(tmp_path, tasks):
    texts = [f"{filler(100, f'w{number}x')} {SECRET}" for number in range(3)]
    kept, figures, out = run(Decontaminate((tasks,), common=2), [texts[:2], texts[2:]], tmp_path)
    assert all(verdict.documents[0].text == text for verdict, text in zip(kept, texts, strict=True))
    assert figures["grams_ignored"] == 3
    assert figures["documents_to_cut"] == 0
    rows = [json.loads(line) for line in (out / "ignored.jsonl").read_text(encoding="utf-8").splitlines()]
    assert [row["documents"] for row in rows] == [3, 3, 3]
    assert rows[0]["text"].split()[0] in SECRET
    other = tmp_path / "other"
    other.mkdir()
    cut, _, _ = run(Decontaminate((tasks,), common=3), [texts[:2], texts[2:]], other)
    assert all(verdict.reason == "evaluation text cut out" for verdict in cut)


def test_chinese_is_cut_by_characters(tmp_path, tasks):
    text = "甲乙丙丁" * 100 + "床前明月光，疑是地上霜。舉頭望明月，低頭思故鄉。" + "子丑寅卯" * 100
    (verdict,), _, _ = run(Decontaminate((tasks,)), [[text]], tmp_path)
    assert [document.text for document in verdict.documents] == [("甲乙丙丁" * 100)[:-200], ("子丑寅卯" * 100)[199:]]


def test_the_parts_that_a_corpus_is_cut_into_do_not_matter(tmp_path, tasks):
    texts = [f"{filler(60, f'w{number}x')} {SECRET if number % 3 else POEM} {filler(60)}" for number in range(9)]
    outs = []
    for name, parts in (("one", [texts]), ("many", [texts[:2], texts[2:3], [], texts[3:]])):
        (tmp_path / name).mkdir()
        verdicts, figures, out = run(Decontaminate((tasks,)), parts, tmp_path / name)
        rows = [json.loads(line) for line in (out / "review.jsonl").read_text(encoding="utf-8").splitlines()]
        outs.append(([v.reason for v in verdicts], dict(figures), [(row["row"], row["text"]) for row in rows]))
    assert outs[0] == outs[1]


def test_nothing_of_the_stories_is_left_in_real_books(shared_data, tmp_path):
    tasks = shared_data / "tasks" / "fairytaleqa_val.jsonl.gz"
    names = ("the-green-fairy-book", "the-lilac-fairy-book", "japanese-fairy-tales", "peter-pan")
    books = [(shared_data / "books" / f"{name}.txt").read_text("utf-8") for name in names]
    step = Decontaminate((str(tasks),), most_pieces=1000)
    verdicts, figures, out = run(step, [books], tmp_path)
    pieces = [document for verdict in verdicts for document in verdict.documents]
    assert figures["documents_to_cut"] == len([verdict for verdict in verdicts if verdict.reason]) >= 2
    assert verdicts[3].documents[0].text == books[3]
    assert not len(step.scan(pieces, 0)["hashes"])
    cut = sum(len(book) for book in books) - sum(len(piece.text) for piece in pieces)
    review = [json.loads(line) for line in (out / "review.jsonl").read_text(encoding="utf-8").splitlines()]
    assert 20_000 < cut < 200_000
    assert {row["source"] for row in review} == {f"0:{place}" for place in range(4) if verdicts[place].reason}


def test_evaluation_files_that_change_meanwhile_are_noticed(tmp_path, tasks):
    step = Decontaminate((tasks,))
    scan = step.scan([Document.of(SECRET, "a")], 0)
    with open(tasks, "a", encoding="utf-8") as file:
        file.write("\n" + json.dumps({"more": filler(20)}))
    with pytest.raises(ValueError, match="were changed while"):
        step.decide(iter([scan]), tmp_path, memory=1 << 28, scratch=tmp_path)


def test_settings_are_plain_values_and_checked():
    step = Decontaminate(("tasks",), window=100)
    assert from_dict(Decontaminate, json.loads(json.dumps(to_dict(step)))) == step
    with pytest.raises(ValueError, match="what to keep out"):
        Decontaminate(())
    with pytest.raises(ValueError, match="0 or more"):
        Decontaminate(("a",), window=-1)


@given(
    st.integers(0, 60), st.lists(st.tuples(st.integers(0, 59), st.integers(1, 8)), min_size=1, max_size=6), st.data()
)
def test_cutting_leaves_exactly_what_is_outside_every_window(size, places, data):
    window = data.draw(st.integers(0, 9))
    spans = sorted((low, low + length) for low, length in places if low + length <= size)
    if not spans:
        return
    text = "".join(chr(0x4E00 + number) for number in range(size))
    starts, stops = (np.array(column) for column in zip(*spans, strict=True))
    cut = cut_out(text, starts, stops, window=window)
    left = [not any(low - window <= place < high + window for low, high in spans) for place in range(size)]
    assert "".join(cut.pieces) == "".join(c for c, stays in zip(text, left, strict=True) if stays)
    assert cut.characters == size - sum(left)
    assert len(cut.pieces) == sum(stays and (place == 0 or not left[place - 1]) for place, stays in enumerate(left))
