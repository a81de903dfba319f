"""What is held out: how much, how surely, and that nothing is lost or shown twice."""

from __future__ import annotations

import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from ensue.text.document import Document
from ensue.text.held_out import ENOUGH, file_of, plan_held_out

sizes = st.lists(st.integers(1, 100_000), min_size=1, max_size=80)
fractions = st.sampled_from([0.01, 0.05, 0.1, 0.3])


def columns_of(documents: list[Document]) -> list[tuple[str, str, int]]:
    return [(document.id, document.source, len(document.text.encode())) for document in documents]


@settings(max_examples=150)
@given(sizes, fractions, st.integers(0, 5), st.sampled_from(["{}.txt", "all.jsonl:{}", "long.txt#{}"]))
def test_the_share_is_near_what_was_asked(sizes: list[int], fraction: float, seed: int, source: str) -> None:
    columns = [(f"{index:032x}", source.format(index), size) for index, size in enumerate(sizes)]
    plan = plan_held_out(columns, fraction=fraction, seed=seed)
    assert plan == plan_held_out(reversed(columns), fraction=fraction, seed=seed)
    if plan.unit == "tail":
        return
    assert plan.unit == ("file" if source == "{}.txt" else "document")
    assert len(sizes) >= ENOUGH
    assert fraction / 2 <= plan.share <= 2 * fraction
    assert 1 <= plan.chosen < plan.total
    held = [
        size
        for (id, name, size) in columns
        if next(plan.split(Document(id, "", name)))[0] == "held_out"  # nothing but id and source decides
    ]
    assert len(held) == plan.chosen
    assert sum(held) == pytest.approx(plan.share * sum(sizes))


def test_even_files_are_held_out_whole() -> None:
    columns = [(f"{index:032x}", f"book{index % 40}.txt#{index // 40 + 1}", 1000) for index in range(400)]
    plan = plan_held_out(columns, seed=3)
    assert (plan.unit, plan.chosen, plan.total) == ("file", 2, 40)
    assert plan.describe() == "held out: 2 of 40 files, 5.0% of the text"
    parts: dict[str, set[str]] = {}
    for id, source, _ in columns:
        parts.setdefault(file_of(source), set()).add(next(plan.split(Document(id, "", source)))[0])
    assert all(len(part) == 1 for part in parts.values())
    chosen = {frozenset(plan_held_out(columns, seed=seed).keys) for seed in range(6)}
    assert len(chosen) == 6


def test_a_giant_is_passed_over() -> None:
    columns = [("00", "giant.txt", 900_000), *((f"{i:02x}", f"{i}.txt", 10_000) for i in range(1, 31))]
    for seed in range(20):
        plan = plan_held_out(columns, seed=seed)
        assert plan.unit == "file"
        assert 0.05 <= plan.share <= 0.1
        assert next(plan.split(Document("00", "", "giant.txt")))[0] == "train"


@settings(max_examples=150)
@given(
    st.lists(st.text(st.sampled_from("ab é漢\n"), min_size=1, max_size=400), min_size=1, max_size=ENOUGH - 1),
    fractions,
)
def test_tails_joined_are_the_text(texts: list[str], fraction: float) -> None:
    documents = [Document.of(text, f"{index}.txt", {"k": "v"}) for index, text in enumerate(texts)]
    plan = plan_held_out(columns_of(documents), fraction=fraction, seed=1)
    assert plan.unit == "tail"
    for document in documents:
        split = list(plan.split(document))
        assert "".join(piece.text for _, piece in split) == document.text
        assert [part for part, _ in split] == ["train", "held_out"][: len(split)]
        if len(split) == 2:
            tail = split[1][1]
            assert tail.meta == {"k": "v", "held_out": "tail"}
            assert len(tail.text) <= 2 * fraction * len(document.text) + 1
            assert {piece.id for _, piece in split} == {document.id}


def test_a_tail_begins_at_a_paragraph() -> None:
    text = "".join(f"Paragraph {number} says little.\n\n" for number in range(200))
    document = Document.of(text, "one.txt")
    plan = plan_held_out(columns_of([document]), seed=0)
    (_, kept), (_, tail) = plan.split(document)
    assert tail.text.startswith("Paragraph ")
    assert kept.text.endswith("\n\n")
    assert len(tail.text) == pytest.approx(0.05 * len(text), rel=0.2)
    assert plan.describe() == "held out: the last 5.0% of the document"


def test_nothing_to_hold_out() -> None:
    with pytest.raises(ValueError, match="no documents"):
        plan_held_out([], seed=0)
    with pytest.raises(ValueError, match=r"not 0\.7"):
        plan_held_out([("a", "b", 1)], fraction=0.7, seed=0)


@pytest.mark.parametrize("name", ["crawl.warc.gz", "a/crawl.WET.gz", "rows.jsonl"])
def test_the_file_of_a_piece(name: str) -> None:
    assert file_of(f"{name}@67108864:17") == file_of(f"{name}:17") == file_of(name) == name


@settings(max_examples=50)
@example("notes@2024", 7)
@given(st.text(min_size=1), st.integers(1, 10**9))
def test_the_file_of_a_source(name: str, number: int) -> None:
    assume(file_of(name) == name)
    assert file_of(f"{name}:{number}") == file_of(f"{name}#{number}") == name
