"""Tables as they come: where the parts of an example are looked for, and what is said of those that cannot be used."""

import csv
import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ensue.generate.load import load
from ensue.recipes.finetuning.columns import columns_of, label_of, right_choice, texts_of
from ensue.recipes.finetuning.config import FineTuneConfig
from ensue.recipes.finetuning.labelled import Labelled, hold_out
from ensue.recipes.finetuning.table import Row, Table, read_table
from ensue.recipes.finetuning.task_work import labelled_for

Call = Callable[..., tuple[int, str]]


def table_of(*rows: dict[str, Any]) -> Table:
    names = tuple(dict.fromkeys(name for row in rows for name in row))
    return Table("some.jsonl", names, tuple(Row("some.jsonl", number, row) for number, row in enumerate(rows, 1)))


def read(model: Path, table: Path, task: str, **options: Any) -> Labelled:
    return labelled_for(FineTuneConfig(task=task, model=str(model), data=str(table), **options), load(model))  # type: ignore[arg-type]


def test_every_kind_of_file_is_the_same_table(tmp_path: Path) -> None:
    import pyarrow
    from pyarrow import parquet

    rows = [{"text": f'a, {number}"quoted"', "label": str(number % 2)} for number in range(5)]
    lines = "".join(json.dumps(row) + "\n" for row in rows)
    (tmp_path / "a.jsonl").write_text(lines)
    with gzip.open(tmp_path / "a.jsonl.gz", "wt") as packed:
        packed.write(lines)
    with (tmp_path / "a.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, ["text", "label"])
        writer.writeheader()
        writer.writerows(rows)
    (tmp_path / "a.tsv").write_text("text\tlabel\n" + "".join(f"{row['text']}\t{row['label']}\n" for row in rows))
    parquet.write_table(pyarrow.Table.from_pylist(rows), tmp_path / "a.parquet")
    tables = [read_table(path) for path in sorted(tmp_path.iterdir())]
    assert len(tables) == 5
    for table in tables:
        assert table.columns == ("text", "label")
        assert [row.values for row in table.rows] == rows
        assert table.rows[2].source == f"{table.file}:3"


def test_files_that_are_no_tables(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("a")
    (tmp_path / "empty.jsonl").write_text("")
    (tmp_path / "broken.jsonl").write_text('{"a": 1}\n{"a"')
    for path, wrong in (
        (tmp_path, "is a folder; give a file"),
        (tmp_path / "a.txt", r"is not a kind of table that is read. They end in \.jsonl"),
        (tmp_path / "empty.jsonl", "is empty"),
        (tmp_path / "broken.jsonl", "line 2"),
    ):
        with pytest.raises(ValueError, match=wrong):
            read_table(path)
    with pytest.raises(FileNotFoundError, match="check the spelling"):
        read_table(tmp_path / "none.jsonl")


def test_columns_are_found_or_said() -> None:
    pair = {"sentence1": "a", "sentence2": "b", "label": 1}
    assert columns_of("entail", table_of(pair), ()) == {
        "premise": "sentence1",
        "hypothesis": "sentence2",
        "label": "label",
    }
    assert columns_of("similarity", table_of({**pair, "score": 2.0}), ())["label"] == "label"
    scored = columns_of("similarity", table_of({**pair, "score": 2.0}), ("score=score",))
    assert "label" not in scored
    story = {"story": "s", "question": "q", "choices": ["a", "b"], "label": 0}
    assert columns_of("choice", table_of(story), ("context=story",)) == {
        "context": "story",
        "question": "question",
        "choices": "choices",
        "label": "label",
    }
    without = columns_of("choice", table_of(story), ("context=story", "question="))
    assert "question" not in without
    numbered = {"context": "c", **{f"choice{number}": "x" for number in range(11)}, "label": 0}
    assert columns_of("choice", table_of(numbered), ())["choices"].split(",")[-1] == "choice10"


def test_missing_columns_are_named_with_the_first_row() -> None:
    there = table_of({"review": "fine", "stars": 5})
    with pytest.raises(ValueError, match="has no column for text and label") as error:
        columns_of("classify", there, ())
    assert "its columns are review, stars" in str(error.value)
    assert '{"review": "fine", "stars": 5}' in str(error.value)
    assert "--columns text=NAME" in str(error.value)
    with pytest.raises(ValueError, match="context or question"):
        columns_of("choice", table_of({"choices": ["a", "b"], "label": 0}), ())
    with pytest.raises(ValueError, match="has no column 'reviev'"):
        columns_of("classify", there, ("text=reviev", "label=stars"))
    with pytest.raises(ValueError, match="reads no 'txt'; did you mean 'text'"):
        columns_of("classify", there, ("txt=review",))
    with pytest.raises(ValueError, match="should be ROLE=COLUMN"):
        columns_of("classify", there, ("review",))


@pytest.mark.parametrize(
    ("value", "named"), [(1, "1"), ("1", "1"), (1.0, "1"), (True, "true"), (" word ", "word"), (0.5, "0.5")]
)
def test_labels_are_text(value: Any, named: str) -> None:
    assert label_of(Row("f", 1, {"label": value}), "label") == named


def test_the_right_choice_is_a_place_a_letter_or_a_text() -> None:
    choices = ["red", "blue", "2"]
    said = [right_choice(Row("f", 1, {"label": label}), "label", choices) for label in (0, "1", "A", "c", "blue", "2")]
    assert said == [0, 1, 0, 2, 1, 2]
    for label in (3, "D", "green", -1):
        with pytest.raises(ValueError, match="none of its 3 choices"):
            right_choice(Row("f", 7, {"label": label}), "label", choices)


@pytest.mark.parametrize("value", ["", "  ", None])
def test_an_empty_text_is_named(value: Any) -> None:
    with pytest.raises(ValueError, match="f:3: the text in 'text' is empty"):
        texts_of("classify", {"text": "text"}, Row("f", 3, {"text": value}))


def test_odd_rows_are_named() -> None:
    columns = {"context": "context", "choices": "choices"}
    for values, wrong in (
        ({"context": "c", "choices": ["a"]}, "two choices or more"),
        ({"context": "c", "choices": ["a", ""]}, "'choices' is empty"),
        ({"context": ["c"], "choices": ["a", "b"]}, "holds list, not text"),
        ({"choices": ["a", "b"]}, "has no 'context'"),
        ({"context": "c", "choices": "[1, "}, "not a list in JSON"),
    ):
        with pytest.raises(ValueError, match=wrong):
            texts_of("choice", columns, Row("f", 1, values))
    row = Row("f", 1, {"context": "c", "choices": '["a", "b"]'})
    assert texts_of("choice", columns, row) == ("c", ["a", "b"])
    assert texts_of("classify", {"text": "t"}, Row("f", 1, {"t": 17})) == ("17", None)


def test_a_label_that_only_validation_has(
    model: Path, tmp_path: Path, ensue: Call, tables: dict[str, Path], write_rows: Callable[..., Path]
) -> None:
    valid = write_rows(tmp_path / "v.jsonl", [{"text": "a", "label": "good"}, {"text": "b", "label": "strange"}])
    run = tmp_path / "run"
    code, said = ensue("finetune", model, tables["classify"], "--valid", valid, "--run", run)
    assert code == 2
    assert f"{valid.name}:2 has the label 'strange', which no row of" in said
    assert "its labels are bad, good" in said
    assert not run.exists()
    write_rows(valid, [{"txt": "a", "label": "good"}])
    code, said = ensue("finetune", model, tables["classify"], "--valid", valid, "--run", run)
    assert code == 2
    assert "has no column 'text' (text); its columns are txt, label" in said
    one = write_rows(tmp_path / "one.jsonl", [{"text": "a", "label": 1}] * 3)
    code, said = ensue("finetune", model, one, "--run", run)
    assert code == 2
    assert "has the label '1', so there is nothing to learn" in said


def test_what_else_is_refused_before_anything_is_written(
    model: Path, tmp_path: Path, ensue: Call, tables: dict[str, Path]
) -> None:
    run, table = tmp_path / "run", tables["classify"]
    for options, wrong in (
        ((), "say what to tune on what"),
        ((model, table), "say where to write the run"),
        ((model, table, "--run", run, "--held-out", "500"), "leaves none to train on"),
        ((model, table, "--run", run, "--epochs", "0"), "try --epochs 3"),
        ((model, table, "--run", run, "--metric", "pearson"), "it has accuracy, f1, matthews, loss"),
        ((model, table, "--run", run, "--auxiliary", "-1"), "is lambda"),
        ((model, table, "--run", run, "--dropout", "1"), "below 1"),
        ((tmp_path / "none", table, "--run", run), "there is no folder"),
    ):
        code, said = ensue("finetune", *options)
        assert code == 2, said
        assert wrong in said
        assert not run.exists()


def test_the_papers_split() -> None:
    """1,871 ROCStories rows, 374 held out by the seed that the paper's code gives scikit-learn."""
    model_selection = pytest.importorskip("sklearn.model_selection")
    rows = [Row("f", number, {}) for number in range(1871)]
    train, valid = hold_out(rows, 374, seed=3535999445)
    theirs = model_selection.train_test_split(range(1871), test_size=374, random_state=3535999445)
    assert [row.number for row in train] == sorted(theirs[0])
    assert [row.number for row in valid] == sorted(theirs[1])
    assert [len(part) for part in hold_out(rows, 0.1, seed=0)] == [1683, 188]
    assert [len(part) for part in hold_out(rows, 0, seed=0)] == [1871, 0]


SETS: list[tuple[str, str, tuple[str, ...], int]] = [
    ("rocstories_test.jsonl", "choice", (), 1),
    ("cola_dev.jsonl", "classify", (), 2),
    ("trec_test.jsonl", "classify", ("label=label_text",), 42),
    ("rte_test.jsonl.gz", "entail", (), 2),
    ("mrpc_dev.jsonl.gz", "similarity", (), 2),
    ("wic_validation.jsonl", "similarity", (), 2),
    ("openbookqa_dev.jsonl", "choice", (), 1),
    ("mctest160.jsonl.gz", "choice", ("context=story",), 1),
    ("copa_dev.jsonl", "choice", ("context=premise", "question=asks_for"), 1),
    ("winogrande_dev.jsonl.gz", "choice", ("context=text",), 1),
]


@pytest.mark.parametrize(("name", "task", "columns", "outputs"), SETS)
def test_published_sets_are_read_as_they_are(
    name: str, task: str, columns: tuple[str, ...], outputs: int, model: Path, shared_data: Path
) -> None:
    table = shared_data / "tasks" / name
    labelled = read(model, table, task, columns=columns)
    assert labelled.shape.outputs == outputs
    assert labelled.valid is not None
    examples = [*labelled.train.examples, *labelled.valid.examples]
    assert len(examples) == len(read_table(table).rows)
    assert all(example.answer.sum() == pytest.approx(1) for example in examples)
    assert max(example.length for example in examples) <= 64
    assert sum(labelled.train.balance.values()) == len(labelled.train.examples)


def test_a_score_is_kept_as_it_is(model: Path, shared_data: Path) -> None:
    labelled = read(model, shared_data / "tasks" / "sts_2012_2014.jsonl.gz", "similarity", held_out=0)
    assert labelled.shape.outputs == 6
    first = labelled.train.examples[0]
    assert (first.score, first.answer.tolist()) == (4.0, [0, 0, 0, 0, 1, 0])
    assert len(first.rows) == 2
    assert np.sort(first.rows[0]).tolist() == np.sort(first.rows[1]).tolist()
