"""Tables of labelled examples as what a task trains and is measured on: rows of tokens with their answers."""

from __future__ import annotations

import hashlib
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from ensue.recipes.finetuning.columns import check_columns, columns_of, label_of, right_choice, score_of, texts_of
from ensue.recipes.finetuning.config import FineTuneConfig
from ensue.recipes.finetuning.table import Row, Table, read_table
from ensue.tokens.examples import Example
from ensue.tokens.task_shapes import Marks, Scale, TaskShape, render, segments_of
from ensue.tokens.tokenizer import Tokenizer


@dataclass(frozen=True)
class Part:
    """Labelled examples of one purpose, how many of their texts were cut, and how often each answer is right."""

    examples: Sequence[Example]
    cut: int
    balance: Mapping[str, int]

    @property
    def digest(self) -> str:
        """Hex digits of everything that is read of it."""
        digest = hashlib.sha256()
        for example in self.examples:
            for piece in (*example.rows, np.array([], np.int32), example.answer.astype(np.float32)):
                digest.update(f"{len(piece)},".encode() + piece.tobytes())
        return digest.hexdigest()


@dataclass(frozen=True)
class Labelled:
    """What a run reads: the task's shape, what it is trained on, and what it is validated and tested on."""

    shape: TaskShape
    train: Part
    valid: Part | None
    test: Part | None = None


def read_labelled(config: FineTuneConfig, tokenizer: Tokenizer, *, marks: Marks, context: int) -> Labelled:
    """The examples of `config.data`, and of `config.valid` or of rows held out of the data.

    Raises FileNotFoundError or ValueError naming file, row and column for what cannot be read or learned, such as a
    label that stands only in the validation table.
    """
    task = config.task
    assert task != "instruct"
    table = read_table(Path(config.data))
    columns = columns_of(task, table, config.columns)
    shape = TaskShape(task=task, marks=marks, context=context, columns=tuple(columns.items()))
    shape = _with_answers(shape, columns, table)
    rows: Sequence[Row] = table.rows
    valid = None
    if config.valid is not None:
        valid = read_part(Path(config.valid), shape, tokenizer, known_in=config.data)
    else:
        rows, held_out = hold_out(rows, config.held_out, seed=config.split_seed)
        if held_out:
            valid = _part(shape, columns, held_out, tokenizer, known_in=config.data)
    test = read_part(Path(config.test), shape, tokenizer, known_in=config.data) if config.test is not None else None
    return Labelled(shape, _part(shape, columns, rows, tokenizer, known_in=config.data), valid, test)


def read_part(path: Path, shape: TaskShape, tokenizer: Tokenizer, *, known_in: str) -> Part:
    """Other examples of the same task, in the same columns; `known_in` is the table that the labels are from.

    Raises FileNotFoundError or ValueError naming file, row and column, as `read_labelled` does.
    """
    table = read_table(path)
    columns = dict(shape.columns)
    check_columns(table, columns)
    return _part(shape, columns, table.rows, tokenizer, known_in=known_in)


def hold_out(rows: Sequence[Row], share: float, *, seed: int) -> tuple[Sequence[Row], Sequence[Row]]:
    """Rows to train on and to validate on: a share below 1, or so many rows. The draw is that of scikit-learn's
    `train_test_split`, which the paper's code uses (ROCStories: 374 rows, seed 3535999445).

    Raises ValueError where nothing is left to train on.
    """
    count = round(share) if share >= 1 else math.ceil(share * len(rows))
    if count >= len(rows):
        raise ValueError(
            f"holding {count} of {len(rows)} rows out leaves none to train on; give --held-out 0 or --valid."
        )
    order = np.random.RandomState(seed % 2**32).permutation(len(rows))
    return [rows[number] for number in sorted(order[count:])], [rows[number] for number in sorted(order[:count])]


def _with_answers(shape: TaskShape, columns: Mapping[str, str], table: Table) -> TaskShape:
    """With the labels or the scale of a table. Raises ValueError where there is nothing to tell apart."""
    if shape.task == "choice":
        return shape
    if "score" in columns:
        scores = [score_of(row, columns["score"]) for row in table.rows]
        low, high = math.floor(min(scores)), math.ceil(max(scores))
        if low == high:
            raise ValueError(f"every score in {table.file} is {low}, so there is nothing to learn.")
        return replace(shape, scale=Scale(low, high))
    labels = {label_of(row, columns["label"]) for row in table.rows}
    if len(labels) < 2:
        raise ValueError(f"every row of {table.file} has the label {labels.pop()!r}, so there is nothing to learn.")
    return replace(shape, labels=tuple(sorted(labels, key=_rank)))


def _rank(label: str) -> tuple[int, str]:
    """Whole numbers by their size, then words by their letters."""
    return (int(label), "") if label.isdecimal() else (1 << 62, label)


def _part(
    shape: TaskShape, columns: Mapping[str, str], rows: Sequence[Row], tokenizer: Tokenizer, *, known_in: str
) -> Part:
    texts = [texts_of(shape.task, columns, row) for row in rows]
    rendered = render(shape, tokenizer, [segments_of(shape.task, *text) for text in texts])
    examples, balance = [], Counter[str]()
    for row, text, found in zip(rows, texts, rendered, strict=True):
        answer, score, name = _answer(shape, columns, row, text[1], known_in)
        examples.append(Example(found.rows, answer, row.source, score))
        balance[name] += 1
    named = {label: balance[label] for label in shape.labels} if shape.labels else dict(sorted(balance.items()))
    return Part(examples, sum(found.cut for found in rendered), named)


def _answer(
    shape: TaskShape, columns: Mapping[str, str], row: Row, choices: str | Sequence[str] | None, known_in: str
) -> tuple[np.ndarray, float | None, str]:
    """A row's answer as shares, its real score where it has one, and what to count it under."""
    if shape.scale is not None:
        score = score_of(row, columns["score"])
        return shape.scale.spread(score), score, str(round(score))
    if shape.task == "choice":
        assert choices is not None
        assert not isinstance(choices, str)
        place = right_choice(row, columns["label"], choices)
        return np.eye(len(choices), dtype=np.float32)[place], None, str(place)
    label = label_of(row, columns["label"])
    if label not in shape.labels:
        raise ValueError(
            f"{row.source} has the label {label!r}, which no row of {known_in} has; its labels are "
            f"{', '.join(shape.labels)}. A model cannot learn it: leave such rows out, or train on some of them."
        )
    return np.eye(len(shape.labels), dtype=np.float32)[shape.labels.index(label)], None, label
