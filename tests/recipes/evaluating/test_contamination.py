"""Items that a run has read, found again: which, in what document, at what step, and the scores without them."""

import json
from pathlib import Path

import pytest

from ensue.cli import main
from ensue.evaluate.metrics import accuracy
from ensue.evaluate.paired import open_evaluation
from ensue.evaluate.task import Choices, Files, Item, Option, Row, Task
from ensue.recipes.data import Data
from ensue.recipes.display import Display
from ensue.recipes.evaluating.contamination import as_table, find_contamination
from ensue.recipes.evaluating.evaluating import Question, evaluate
from ensue.recipes.evaluating.models import open_scorer

WORDS = "amber birch cedar dune elm fern grove heath iris jade kelp lime moss nut oak pine quartz reed sage thorn"


def sentence(number: int) -> str:
    """Twenty words in an order that no other number has."""
    words = WORDS.split()
    return " ".join(words[(number * 7 + place * (number % 9 + 1)) % len(words)] + str(number) for place in range(20))


def _item(row: Row) -> Item:
    return Choices((Option(row["text"], " yes"), Option(row["text"], " no")), row["label"])


TASK = Task(
    name="told",
    about="made up",
    files=Files(test="told", columns=("text", "label")),
    item=_item,
    metrics=(accuracy("sum"),),
    scoring="sum",
)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model trained for a few steps on sixty documents."""
    folder = tmp_path_factory.mktemp("contamination")
    texts = folder / "texts"
    texts.mkdir()
    for number in range(60):
        (texts / f"{number:02}.txt").write_text(f"Once there was this. {sentence(number)}. And then it ended.")
    shape = ["--recipe", "gpt2", "--steps", "6", "--layers", "1", "--width", "32", "--heads", "2", "--context", "32"]
    assert (
        main(["train", str(texts), "--run", str(folder / "run"), *shape, "--batch.start", "4", "--batch.end", "4"]) == 0
    )
    return folder / "run"


@pytest.fixture(scope="module")
def told(run: Path, tmp_path_factory: pytest.TempPathFactory) -> dict:
    data = Data(run / "data")
    trained = [int(Path(source).stem) for source in data.train.sources]
    held_out = [int(Path(source).stem) for source in data.held_out.sources]
    rows = [{"text": f"Is it so? {sentence(number)}", "label": number % 2} for number in (*trained[:5], *held_out, 99)]
    folder = tmp_path_factory.mktemp("items")
    (folder / "told.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    out, _ = evaluate(open_scorer(str(run)), Question((TASK,), folder), folder / "out", display=Display(to_stderr=True))
    report = find_contamination(open_evaluation(out), run, (TASK,), seed=0, display=Display(to_stderr=True))
    assert json.loads((out / "contamination.json").read_text()) == report
    return report


def test_what_was_trained_on_is_dirty_and_what_was_held_out_is_not(told: dict) -> None:
    (result,) = told["results"]
    assert [item["row"] for item in result["dirty"]] == [0, 1, 2, 3, 4]
    assert result["words"] == 13
    assert all(item["shared"] == 2 * 8 for item in result["dirty"])  # of twenty words eight runs, before each option


def test_each_step_that_read_the_words_is_named(told: dict, run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    seen = 0
    for item in told["results"][0]["dirty"]:
        for step in range(1, 7):
            assert main(["why", str(run), "--step", str(step), "--json"]) == 0
            documents = {document["id"] for document in json.loads(capsys.readouterr().out)["documents"]}
            if step in item["steps"]:
                assert item["document"] in documents
                seen += 1
    assert seen


def test_scores_are_told_of_all_clean_and_dirty_items(told: dict) -> None:
    (result,) = told["results"]
    parts = result["metrics"]["accuracy"]
    assert [parts[part]["n"] for part in ("clean", "dirty")] == [result["items"] - 5, 5]
    whole = sum(parts[part]["value"] * parts[part]["n"] for part in ("clean", "dirty")) / result["items"]
    assert parts["all"]["value"] == pytest.approx(whole)
    assert as_table(told).row_count == 1


def test_text_that_is_not_there_is_named(run: Path, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="there is no"):
        find_contamination(None, tmp_path / "nothing", (), seed=0, display=Display(to_stderr=True))
