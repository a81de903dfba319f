"""Which evaluation items stand in a corpus, on real books and tasks where they are at hand."""

import gzip
import json

import pytest

from ensue.text.contamination.items import read_items
from ensue.text.contamination.overlap import EvaluationSet, FileOverlap, overlap_with, usual_size
from ensue.text.document import Document


@pytest.fixture(scope="module")
def books(shared_data) -> list[Document]:
    return [Document.of(path.read_text("utf-8"), path.name) for path in sorted((shared_data / "books").glob("*.txt"))]


def test_the_stories_and_passages_that_are_known_to_stand_in_the_books_are_found(shared_data, books):
    names = ("fairytaleqa_train.jsonl.gz", "fairytaleqa_val.jsonl.gz", "lambada_test.jsonl.gz")
    files = [str(shared_data / "tasks" / name) for name in names]
    train, val, lambada = overlap_with(books, files, words=13)
    assert (_stories(train), _stories(val)) == ((65, 232), (6, 23))
    assert len(lambada.dirty) == 6
    assert all(item.source.endswith(".txt") for item in train.dirty)


def _stories(overlap: FileOverlap) -> tuple[int, int]:
    """Stories of which more than half stands in the corpus, and all of them."""
    with gzip.open(overlap.file, "rt", encoding="utf-8") as file:
        stories = [json.loads(line)["story"] for line in file]
    mostly = {stories[item.row - 1] for item in overlap.dirty if item.shared > item.grams / 2}
    return len(mostly), len(set(stories))


def test_a_dirty_item_names_the_document_and_a_clean_one_is_not_listed(tmp_path):
    path = tmp_path / "items.jsonl"
    rows = [{"q": "one two three four five six seven eight nine"}, {"q": "a b c d e f g h i"}, {"q": "short"}]
    path.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    corpus = [Document.of("nothing here", "x"), Document.of("zero ONE, two three four five six seven; eight", "y")]
    (found,) = overlap_with(iter(corpus), [str(path)])
    assert found.size.words == 8
    assert found.items == 3
    assert found.share == pytest.approx(1 / 3)
    (item,) = found.dirty
    assert (item.row, item.grams, item.shared, item.document, item.source) == (1, 2, 1, corpus[1].id, "y")
    assert item.place == len("zero ")
    assert item.gram == "one two three four five six seven eight"


@pytest.mark.parametrize(("lengths", "size"), [([5] * 10, 8), ([10] * 20, 10), ([9] * 3 + [30] * 37, 9), ([50], 13)])
def test_the_size_is_the_length_of_the_shortest_twentieth_within_limits(tmp_path, lengths, size):
    path = tmp_path / "items.jsonl"
    path.write_text("\n".join(json.dumps({"q": "word " * length}) for length in lengths), encoding="utf-8")
    assert usual_size(EvaluationSet("", lambda: read_items(str(path)))) == size


def test_chinese_items_are_measured_by_their_characters(tmp_path):
    path = tmp_path / "items.jsonl"
    path.write_text(json.dumps({"q": "字" * 15}), encoding="utf-8")
    assert usual_size(EvaluationSet("", lambda: read_items(str(path)))) == 9  # 15 of 20 characters are 9.75 of 13 words
