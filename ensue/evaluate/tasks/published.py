"""Rows as their publishers lay them out: several names for one column, labels as words, letters or numbers."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ensue.evaluate.rows import read_rows, show_row
from ensue.evaluate.splits import Split
from ensue.evaluate.task import Files, Row

SENTENCE_ENDS = (".", "!", "?", "…", "。", "！", "？")
CLOSING = "\"'”’)]」』"


def one_of(row: Row, *names: str) -> Any:
    """The first of these columns that the row has. Raises ValueError naming them all."""
    for name in names:
        if row.get(name) is not None:
            return row[name]
    raise ValueError(f"a row has no column {' or '.join(names)}: {show_row(row)}")


def label_of(row: Row, *columns: str, names: Sequence[str]) -> int:
    """A label, counted from 0: a number, true or false, or one of the `names` in their order.

    Raises ValueError for any other, such as the -1 of test sets published without labels.
    """
    label = one_of(row, *columns)
    if isinstance(label, str):
        label = names.index(label) if label in names else int(label) if label.isdecimal() else -1
    if int(label) != label or not 0 <= label < len(names):
        raise ValueError(
            f"the label is none of {', '.join(names)} (0 to {len(names) - 1}), as in test sets published without "
            f"labels, of which the validation set is to be used: {show_row(row)}"
        )
    return int(label)


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
        raise ValueError(f"a row has no choices: {show_row(row)}")
    if isinstance(choices[0], dict):
        letters = [choice["label"] for choice in choices]
        texts = tuple(choice["text"].strip() for choice in choices)
        return (
            question.strip(),
            texts,
            label_of({**row, "answerKey": row["answerKey"].strip()}, "answerKey", names=letters),
        )
    texts = tuple(choice.strip() for choice in choices)
    return question.strip(), texts, label_of(row, "label", names=texts)


def sentence(text: str) -> str:
    """A text with a full stop at its end, unless it ends as a sentence does."""
    return text if text.rstrip(CLOSING).endswith(SENTENCE_ENDS) else text + "."


def capitalised(text: str) -> str:
    """A text with its first letter large; the others stay as they are, unlike with `str.capitalize`."""
    return text[:1].upper() + text[1:]


def rows_of(path: str) -> list[Row]:
    """The rows of one file, by its ending; for readers that go on from there."""
    return read_rows(Split(Path(path).name, (Path(path),)), Files(test=path))
