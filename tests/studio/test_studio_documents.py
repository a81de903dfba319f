"""Documents, why others are not there, and evaluations, as pages are told of them."""

import json
import shutil
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as some

from ensue.cli import main
from ensue.evaluate.paired import open_evaluation
from ensue.recipes.mixtures import mix
from ensue.studio.data_list import facts_of, find_data
from ensue.studio.document_store import EDGES, DocumentStore, edge_labels, excerpt_parts, source_group
from ensue.studio.dropped import drop_reasons, dropped_documents, is_corpus, step_counts
from ensue.studio.evaluation_book import find_evaluations, items_of, lines_of, open_all, right_options, scored_parts
from ensue.studio.evaluation_drawing import coloured, intervals_figure, number_cell
from ensue.studio.step_documents import step_reading
from ensue.text.corpus import read_corpus, write_documents
from ensue.text.document import Document
from ensue.verbs.studio import run_records

from .conftest import World


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Document]]:
    """Documents in several files."""
    folder = tmp_path_factory.mktemp("many")
    documents = [
        Document.of(f"number {i} " + "狐狸 Fox " * (i % 3) + "x" * i, f"web/{i % 4}.jsonl:{i}") for i in range(57)
    ]
    write_documents(documents, folder / "documents", shard_bytes=300)
    return folder, documents


def test_pages_are_the_documents_in_order(many: tuple[Path, list[Document]]) -> None:
    folder, documents = many
    assert len(list((folder / "documents").iterdir())) > 3
    store = DocumentStore(folder)
    assert store.count == len(documents)
    seen, start = [], 0
    while start is not None:
        found = store.page(start, size=7)
        seen.extend(found.documents)
        start = found.next  # type: ignore[assignment]
    assert [(shown.place, shown.id, shown.text) for shown in seen] == [
        (place, document.id, document.text) for place, document in enumerate(documents)
    ]


@pytest.mark.parametrize("query", ["fox", "狐", "2.JSONL:1", "number 5", "(x", "nothing like it"])
def test_a_search_finds_what_python_finds(many: tuple[Path, list[Document]], query: str) -> None:
    folder, documents = many
    store = DocumentStore(folder)
    seen: list[str] = []
    start: int | None = 0
    while start is not None:
        found = store.search(query, start, size=5)
        seen.extend(shown.id for shown in found.documents)
        start = found.next
    wanted = [d.id for d in documents if query.lower() in d.text.lower() or query.lower() in d.source.lower()]
    assert seen == wanted


def test_sources_and_sizes(many: tuple[Path, list[Document]]) -> None:
    folder, documents = many
    sizes = DocumentStore(folder).sizes()
    assert sizes.documents == sum(sizes.by_size) == len(documents)
    assert sizes.bytes == sum(len(document.text.encode()) for document in documents)
    assert {name for name, _, _ in sizes.sources} == {f"web/{i}.jsonl" for i in range(4)}
    assert len(edge_labels()) == len(EDGES) + 1
    assert source_group("https://a.org/x/y") == "a.org"
    assert source_group("books/heidi.txt") == "books"
    assert source_group("heidi.txt") == "heidi.txt"


@given(some.text(max_size=30), some.text(max_size=3))
def test_marked_pieces_are_the_text(text: str, query: str) -> None:
    parts = excerpt_parts(text, query)
    assert "".join(piece for piece, _ in parts) == text


def test_folders_that_hold_no_documents(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        DocumentStore(tmp_path)
    (tmp_path / "documents").mkdir()
    (tmp_path / "documents" / "documents-00000.parquet").write_bytes(b"not parquet")
    with pytest.raises(ValueError, match="damaged"):
        DocumentStore(tmp_path)
    assert facts_of(tmp_path) == {}


def test_data_that_is_found(world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    found = [choice.path.resolve() for choice in find_data((world.corpus,), world.runs)]
    assert found == [world.corpus, world.data]
    assert facts_of(world.data)["documents"] == 20


def test_a_run_on_a_mixture(world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The data of its sources is shown, and what a step read of each; without records, neither is known."""
    monkeypatch.chdir(tmp_path)
    for name in ("one", "other"):
        shutil.copytree(world.data, tmp_path / name)
    mix([f"{name}={tmp_path / name}:0.5" for name in ("one", "other")], tmp_path / "mix", preset=None, normalise=False)
    run = tmp_path / "runs" / "mixed"
    shape = "--recipe gpt2 --layers 1 --width 24 --heads 3 --context 48 --micro_batch 4 --batch.start 4 --batch.end 4"
    assert main(["train", str(tmp_path / "mix"), "--run", str(run), "--steps", "2", *shape.split()]) == 0
    found = [choice.path.resolve() for choice in find_data((), tmp_path / "runs", run_records())]
    assert found == [tmp_path / "one", tmp_path / "other"]
    assert find_data((), tmp_path / "runs") == []
    reading = step_reading(run, 2, records=run_records())
    assert reading.trained
    texts = [(world.folder / read.source.removeprefix("one/")).read_text(encoding="utf-8") for read in reading.shown]
    assert all(read.text and text.startswith(read.text) for read, text in zip(reading.shown, texts, strict=True))


def test_why_documents_were_dropped(world: World) -> None:
    assert is_corpus(world.corpus)
    assert not is_corpus(world.data)
    assert DocumentStore(world.corpus).count == len(list(read_corpus(world.corpus / "documents"))) == 2
    (step,) = step_counts(world.corpus)
    assert (step.step, step.documents_in, step.documents_out) == ("short", 3, 2)
    (reason,) = drop_reasons(world.corpus)
    assert (reason.step, reason.reason, reason.documents) == ("short", "too short", 1)
    drops = dropped_documents(world.corpus, reason)
    (dropped,) = drops.documents
    assert (dropped.sample, dropped.facts, drops.next) == ("<i>no</i>", "characters 9", None)
    assert dropped_documents(world.corpus, reason, start=1).documents == ()


def test_evaluations(world: World, tmp_path: Path) -> None:
    (choice,) = find_evaluations((world.evaluations, tmp_path))
    assert (choice.name, choice.finished) == ("fox", True)
    assert find_evaluations((world.evaluations / "fox",))[0].path == choice.path
    evaluation = open_evaluation(choice.path)
    lines = lines_of([evaluation, evaluation])
    assert [(line.task, line.shots, line.metric, line.chance) for line in lines] == [
        ("own", 0, "accuracy", 0.5),
        ("own", 1, "accuracy", 0.5),
    ]
    told = evaluation.result("own", 1)["metrics"]["accuracy"]
    number = lines[1].numbers[1]
    assert number is not None
    assert (number.value, number.low, number.high, number.items) == (told["value"], told["low"], told["high"], 20)
    assert f"{told['value']:.3f}" in number_cell(number)
    figure = json.dumps(intervals_figure(lines, ["<b>", "b"], "guessing"), allow_nan=False)
    assert "<b>" not in figure


def test_items_behind_a_number(world: World) -> None:
    evaluation = open_evaluation(world.evaluations / "fox")
    value = evaluation.result("own", 0)["metrics"]["accuracy"]["value"]
    counts = {
        which: items_of(evaluation, "own", 0, metric="accuracy", which=which).count  # type: ignore[arg-type]
        for which in ("all", "right", "wrong")
    }
    assert counts["all"] == 20
    assert counts["right"] == pytest.approx(20 * value)
    assert counts["right"] + counts["wrong"] == 20
    page = items_of(evaluation, "own", 0, metric="accuracy", which="all", start=16)
    assert [record["row"] for record in page.records] == [16, 17, 18, 19]
    record = page.records[0]
    assert right_options(record) == {0}
    html = coloured(scored_parts(record)[0]["tokens"], scored_parts(record)[0]["nats"])
    assert html.count("<span") == len(scored_parts(record)[0]["tokens"])


def test_evaluations_that_are_gone_or_not_finished(world: World, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(world.evaluations / "fox", tmp_path / "copy"))
    choices = find_evaluations((tmp_path,))
    assert len(open_all(choices)) == 1
    (folder / "results.json").unlink()
    assert [choice.finished for choice in find_evaluations((tmp_path,))] == [False]
    with pytest.raises(ValueError, match="not finished"):
        open_all(choices)
    shutil.rmtree(folder)
    with pytest.raises(FileNotFoundError):
        open_all(choices)
