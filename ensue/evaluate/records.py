"""One line of items/TASK-K.jsonl: an item as it was asked, and all that came of it."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ensue.core.files import write_file_aside
from ensue.evaluate.scorer import Scored
from ensue.evaluate.task import Choices, Item, Outcome, Passage, Row, Target, Task, chosen

Record = Mapping[str, Any]
"""What a line holds.

row, id    the row's number in its file, and its own id where it has one
examples   numbers of the rows shown before it, the nearest last; `before` is their text with all that belongs to it
options    of choices or a target: each with `context` and `continuation` (what was sent is before + context, and what
           was scored continuation), `tokens`, `nats`, `greedy`, `cut`, `unscored`, and `alone`, the same continuation
           after the answer context
text       of a passage: with `tokens` and so on; of a question: `prompt`, `answers`, `written`, `cut`
values     of each metric
"""


@dataclass(frozen=True)
class Asked:
    """An item, the text of the examples before it, and the numbers of their rows."""

    number: int
    row: Row
    item: Item
    before: str
    examples: tuple[int, ...]


def record_of(task: Task, asked: Asked, outcome: Outcome, *, cut: int = 0) -> dict[str, Any]:
    """The line of an item; `cut` is how many tokens of a question's prompt did not fit."""
    item = asked.item
    record: dict[str, Any] = {
        "row": asked.number,
        "id": _plain(asked.row.get("id", asked.number)),
        "examples": list(asked.examples),
        "before": asked.before,
    }
    if isinstance(item, Choices):
        pairs = [(option.context, option.continuation) for option in item.options]
        record |= {"options": _options(pairs, outcome), "answer": item.answer}
        record["chosen"] = chosen(item, outcome, task.scoring)
    elif isinstance(item, Target):
        record["options"] = _options([(item.context, item.continuation)], outcome)
    elif isinstance(item, Passage):
        record |= {"text": item.text, **_score(outcome.scores[0])}
    else:
        record |= {"prompt": item.context, "answers": list(item.answers), "written": outcome.text, "cut": cut}
    record["values"] = {metric.name: _value(task, asked, metric.value(item, outcome)) for metric in task.metrics}
    return record


def was_cut(record: Record) -> bool:
    """Whether something of the item did not fit the model's window."""
    parts = record.get("options", [record])
    return any(part.get("cut") or part.get("unscored") for part in parts)


def alone_scores(records: Sequence[Record]) -> dict[str, Scored]:
    """What continuations scored after the answer context, as far as these records tell."""
    return {
        option["continuation"]: _scored(option["alone"])
        for record in records
        for option in record.get("options", ())
        if "alone" in option
    }


def append_records(path: Path, records: Sequence[Record]) -> None:
    """Add lines to a file in one piece."""
    text = "".join(json.dumps(record, ensure_ascii=False, allow_nan=False) + "\n" for record in records)
    with path.open("ab") as file:
        file.write(text.encode("utf-8", "backslashreplace"))


def read_records(path: Path) -> list[Record]:
    """The lines of a file; one at the end that a kill cut short is dropped from the file, too."""
    if not path.exists():
        return []
    whole, _, half = path.read_bytes().rpartition(b"\n")
    text = whole.decode()
    if half:
        write_file_aside(path, f"{text}\n" if text else "")
    return [json.loads(line) for line in text.split("\n") if line]


def _plain(value: Any) -> str | int:
    return value if isinstance(value, (str, int)) else str(value)


def _options(pairs: Sequence[tuple[str, str]], outcome: Outcome) -> list[dict[str, Any]]:
    told = [
        {"context": context, "continuation": continuation, **_score(scored)}
        for (context, continuation), scored in zip(pairs, outcome.scores, strict=True)
    ]
    for option, alone in zip(told, outcome.alone, strict=False):
        option["alone"] = _score(alone)
    return told


def _score(scored: Scored) -> dict[str, Any]:
    return {
        "tokens": list(scored.tokens),
        "nats": list(scored.token_nats),
        "greedy": scored.greedy,
        "cut": scored.cut,
        "unscored": scored.unscored,
    }


def _scored(told: Mapping[str, Any]) -> Scored:
    return Scored(tuple(told["tokens"]), tuple(told["nats"]), told["greedy"], told["cut"], told["unscored"])


def _value(task: Task, asked: Asked, value: Any) -> Any:
    """A metric's value as JSON keeps it, so that it is the same before and after it was written."""
    if isinstance(value, (tuple, list)):
        return [_value(task, asked, inner) for inner in value]
    if value is None or isinstance(value, (str, bool, int)):
        return value
    if isinstance(value, Mapping):
        return {str(key): _value(task, asked, inner) for key, inner in value.items()}
    number = float(value)
    if math.isnan(number):
        raise ValueError(f"{task.name}, row {asked.number}: a metric's value is not a number.")
    return number
