"""Which columns of a table hold what a task reads: by the names that the field's sets use, or as the user says."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from ensue.core.config import suggest
from ensue.recipes.finetuning.config import FineTuningTask
from ensue.recipes.finetuning.table import Row, Table
from ensue.tokens.task_shapes import TaskName, joined

ROLES: dict[FineTuningTask, dict[str, tuple[str, ...]]] = {
    "classify": {"text": ("text", "sentence"), "label": ("label",)},
    "entail": {
        "premise": ("premise", "sentence1"),
        "hypothesis": ("hypothesis", "sentence2"),
        "label": ("label", "gold_label"),
    },
    "similarity": {
        "sentence1": ("sentence1", "text1"),
        "sentence2": ("sentence2", "text2"),
        "label": ("label",),
        "score": ("score",),
    },
    "choice": {
        "context": ("context",),
        "question": ("question",),
        "choices": ("choices", "endings"),
        "label": ("label",),
    },
    "instruct": {
        "messages": ("messages", "conversation"),
        "prompt": ("prompt", "instruction", "question"),
        "input": ("input", "context"),
        "answer": ("answer", "output", "response", "completion"),
        "system": ("system",),
    },
}
"""What each task reads, and the columns in which it is looked for."""

OPTIONAL = {"similarity": ("label", "score"), "choice": ("context", "question")}
"""Of these one is enough."""

NUMBERED = re.compile(r"(ending|choice|answer|option|sol)_?\d+", re.I)
"""Columns that hold a choice each, such as ending1 and ending2."""


def columns_of(task: FineTuningTask, table: Table, said: Sequence[str]) -> dict[str, str]:
    """The column of each role; `choices` may be several with commas between them. `said` are ROLE=COLUMN, and an empty
    COLUMN leaves a role out.

    Raises ValueError naming what is missing, with the columns that there are and the first row.
    """
    roles = ROLES[task]
    given = _given(task, table, said)
    found = {role: name for role, name in given.items() if name}
    for role, names in roles.items():
        there = [name for name in names if name in table.columns]
        if role not in given and there:
            found[role] = there[0]
    if task == "instruct":
        return _of_conversations(table, found, given)
    if task == "choice" and "choices" not in found:
        numbered = sorted((name for name in table.columns if NUMBERED.fullmatch(name)), key=_number)
        if len(numbered) > 1:
            found["choices"] = ",".join(numbered)
    if task == "similarity" and "label" in found and "score" in found:
        del found["label" if "score" in given else "score"]
    either = OPTIONAL.get(task, ())
    missing = [role for role in roles if role not in found and role not in either]
    if either and not any(role in found for role in either):
        missing.append(" or ".join(either))
    if missing:
        role = missing[0].split(" or ")[0]
        raise ValueError(
            f"{table.file} has no column for {' and '.join(missing)}, which --task {task} reads; {table.shown()}\n"
            f"Say which it is: --columns {role}=NAME"
        )
    return found


def check_columns(table: Table, columns: Mapping[str, str]) -> None:
    """Raise ValueError where another table of the same task lacks one of these columns."""
    for role, name in columns.items():
        for part in name.split(",") if role == "choices" else [name]:
            if part not in table.columns:
                raise ValueError(f"{table.file} has no column {part!r} ({role}); {table.shown()}")


def texts_of(task: TaskName, columns: Mapping[str, str], row: Row) -> tuple[str, str | list[str] | None]:
    """What `segments_of` takes: the first text, and the second or the choices. Raises ValueError naming row and column
    where a text is missing or empty."""
    if task == "classify":
        return _text(row, columns["text"]), None
    if task == "entail":
        return _text(row, columns["premise"]), _text(row, columns["hypothesis"])
    if task == "similarity":
        return _text(row, columns["sentence1"]), _text(row, columns["sentence2"])
    context, question = (_text(row, columns[role]) if role in columns else "" for role in ("context", "question"))
    return joined(context, question), _choices(row, columns["choices"])


def label_of(row: Row, column: str) -> str:
    """A row's label as text: 1 and "1" are the same. Raises ValueError where there is none."""
    value = _value(row, column)
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, bool):
        value = str(value).lower()
    if value is None or str(value).strip() == "":
        raise ValueError(f"{row.source} has no label in {column!r}; give it one, or leave the row out.")
    if not isinstance(value, (str, int, float)):
        raise ValueError(f"{row.source}: the label in {column!r} is {value!r}; it should be a word or a number.")
    return str(value).strip()


def score_of(row: Row, column: str) -> float:
    """A row's real score. Raises ValueError where it is no number."""
    value = _value(row, column)
    try:
        score = float(value)
    except (TypeError, ValueError):
        score = float("nan")
    if not abs(score) < float("inf"):
        raise ValueError(f"{row.source}: the score in {column!r} is {value!r}; it should be a number.")
    return score


def right_choice(row: Row, column: str, choices: Sequence[str]) -> int:
    """Which choice is right, counted from 0: the label is its place, its letter or its text."""
    label = label_of(row, column)
    if label.isdecimal() and int(label) < len(choices):
        return int(label)
    if label in choices:
        return choices.index(label)
    if len(label) == 1 and label.isascii() and label.isalpha() and ord(label.upper()) - ord("A") < len(choices):
        return ord(label.upper()) - ord("A")
    raise ValueError(
        f"{row.source}: the label {label!r} in {column!r} is none of its {len(choices)} choices; it should be a place "
        f"from 0 to {len(choices) - 1}, a letter from A, or a choice's text."
    )


def _given(task: FineTuningTask, table: Table, said: Sequence[str]) -> dict[str, str]:
    given = {}
    for pair in said:
        role, equals, name = pair.partition("=")
        if not equals:
            raise ValueError(f"--columns {pair} should be ROLE=COLUMN, such as {next(iter(ROLES[task]))}=NAME.")
        if role not in ROLES[task]:
            raise ValueError(f"--columns {pair}: --task {task} reads no {role!r}{suggest(role, ROLES[task])}")
        for part in name.split(",") if name else []:
            if part not in table.columns:
                raise ValueError(f"--columns {pair}: {table.file} has no column {part!r}; {table.shown()}")
        given[role] = name
    return given


def _of_conversations(table: Table, found: dict[str, str], given: Mapping[str, str]) -> dict[str, str]:
    """Whole conversations where there are any, or a prompt with its answer."""
    if "messages" in found and not ({"prompt", "answer"} & given.keys()):
        return {"messages": found["messages"]}
    missing = [role for role in ("prompt", "answer") if role not in found]
    if missing:
        raise ValueError(
            f"{table.file} has no column for messages, nor for {' and '.join(missing)}; --task instruct reads either "
            f"whole conversations or a prompt with its answer; {table.shown()}\n"
            f"Say which it is: --columns {missing[0]}=NAME"
        )
    return {role: name for role, name in found.items() if role != "messages"}


def _number(name: str) -> int:
    return int(re.sub(r"\D", "", name))


def _value(row: Row, column: str) -> Any:
    if column not in row.values:
        raise ValueError(f"{row.source} has no {column!r}; it has {', '.join(row.values) or 'nothing'}.")
    return row.values[column]


def _text(row: Row, column: str) -> str:
    return _as_text(row, column, _value(row, column))


def _as_text(row: Row, column: str, value: Any) -> str:
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        value = str(value)
    if value is None or (isinstance(value, str) and not value.strip()):
        raise ValueError(f"{row.source}: the text in {column!r} is empty; give it words, or leave the row out.")
    if not isinstance(value, str):
        raise ValueError(f"{row.source}: {column!r} holds {type(value).__name__}, not text.")
    return value


def _choices(row: Row, column: str) -> list[str]:
    names = column.split(",")
    if len(names) > 1:
        return [_text(row, name) for name in names]
    value = _value(row, column)
    if isinstance(value, str) and value.lstrip().startswith("["):
        try:
            value = json.loads(value)
        except ValueError as error:
            raise ValueError(f"{row.source}: {column!r} is not a list in JSON ({error}).") from error
    if not isinstance(value, (list, tuple)) or len(value) < 2:
        raise ValueError(f"{row.source}: {column!r} should be a list of two choices or more, not {value!r}.")
    return [_as_text(row, column, choice) for choice in value]
