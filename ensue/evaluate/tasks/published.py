"""Rows as their publishers lay them out: several names for one column, labels as words, letters or numbers.

Messages tell what is wrong; whoever reads a row shows it.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

from ensue.evaluate.rows import read_rows
from ensue.evaluate.splits import Split
from ensue.evaluate.task import Files, Row

SENTENCE_ENDS = (".", "!", "?", "…", "。", "！", "？")
CLOSING = "\"'”’)]」』"


def one_of(row: Row, *names: str) -> Any:
    """The first of these columns that the row has. Raises ValueError naming them all."""
    for name in names:
        if row.get(name) is not None:
            return row[name]
    raise ValueError(f"it has no column {' or '.join(names)}")


def label_of(row: Row, *columns: str, names: Sequence[str]) -> int:
    """A label, counted from 0: a number, true or false, or one of the `names` in their order.

    Raises ValueError for any other, such as the -1 of test sets published without labels.
    """
    label = one_of(row, *columns)
    if isinstance(label, str):
        label = names.index(label) if label in names else int(label) if label.isdecimal() else -1
    if int(label) != label or not 0 <= label < len(names):
        _refuse(names)
    return int(label)


def place_of(row: Row, column: str, options: Sequence[str], *, first: int = 0) -> int:
    """The place, counted from 0, of the option that a column numbers, counting from `first`. Raises as `label_of`."""
    numbers = [str(first + place) for place in range(len(options))]
    label = str(one_of(row, column))
    return numbers.index(label) if label in numbers else _refuse(numbers)


def _refuse(names: Sequence[str]) -> NoReturn:
    raise ValueError(
        f"its label is none of {', '.join(names)}; test sets are often published without labels: use the validation set"
    )


def question_of(row: Row) -> tuple[str, tuple[str, ...], int]:
    """Question, choices and the right one in AI2's layouts, or with `question`, `choices` and `label`.

    AI2's own files have the choices inside the question, each with its letter; Hugging Face has texts and letters in
    two lists.
    """
    question, choices = one_of(row, "question_stem", "question"), row.get("choices")
    if isinstance(question, dict):
        question, choices = question["stem"], question["choices"]
    if isinstance(choices, dict):
        choices = [
            {"text": text, "label": label} for text, label in zip(choices["text"], choices["label"], strict=True)
        ]
    if not isinstance(choices, list) or not choices:
        raise ValueError("it has no choices")
    if isinstance(choices[0], dict):
        letters, key = [choice["label"] for choice in choices], row["answerKey"].strip()
        answer = letters.index(key) if key in letters else _refuse(letters)
        return question.strip(), tuple(choice["text"].strip() for choice in choices), answer
    texts = tuple(choice.strip() for choice in choices)
    return question.strip(), texts, place_of(row, "label", texts)


def sentence(text: str) -> str:
    """A text with a full stop at its end, unless it ends as a sentence does."""
    return text if text.rstrip(CLOSING).endswith(SENTENCE_ENDS) else text + "."


def capitalised(text: str) -> str:
    """A text with its first letter large; the others stay as they are, unlike with `str.capitalize`."""
    return text[:1].upper() + text[1:]


def rows_of(path: str) -> list[Row]:
    """The rows of one file, by its ending; for readers that go on from there."""
    return read_rows(Split(Path(path).name, (Path(path),)), Files(test=path))
