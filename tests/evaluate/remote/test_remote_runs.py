"""A whole task over a server that dies on the way: it goes on where it stopped, and asks nothing twice."""

import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ensue.evaluate.loading import Loaded, load_task
from ensue.evaluate.local import LocalScorer
from ensue.evaluate.measuring import measure
from ensue.evaluate.metrics import accuracies
from ensue.evaluate.remote import RemoteScorer
from ensue.evaluate.task import Choices, Files, Option, Row, Task
from ensue.generate.lm import LM

NAMES = ("fox", "crow", "wood", "voice", "狐狸", "乌鸦", "café")


def _item(row: Row) -> Choices:
    return Choices(tuple(Option(row["start"], f" {name}") for name in row["ends"]), row["label"])


@pytest.fixture
def loaded(tmp_path: Path) -> Loaded:
    rows = [
        {"start": f"The {NAMES[i % 7]} said {i} to the", "ends": [NAMES[i % 5], NAMES[(i + 1) % 5]], "label": i % 2}
        for i in range(20)
    ]
    (tmp_path / "who_test.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    task = Task(
        name="who", about="who it was said to", files=Files(test="who_test"), item=_item, metrics=accuracies("sum")
    )
    return load_task(task, tmp_path, shots=0)


def test_a_task_goes_on_where_the_server_died(
    lm: LM, loaded: Loaded, serve: Callable[..., Any], connect: Callable[..., RemoteScorer], tmp_path: Path
) -> None:
    records, done = tmp_path / "records.jsonl", list[int]()
    server = serve(faults=[""] * 24 + ["500"] * 100)
    with pytest.raises(ValueError, match=r"^who, rows 8 to 11: .*HTTP 500.*give the same command to go on"):
        measure(loaded, connect(server, in_flight=4), records, shots=0, on_items=done.append)
    assert sum(done) == 8
    kept = records.read_bytes()
    again = serve(zero="refused")  # at another address, with other habits
    answers = measure(loaded, connect(again), records, shots=0)
    assert records.read_bytes().startswith(kept)
    asked = Counter(json.dumps(body["prompt"]) for body in again.habits.bodies[2:])
    assert len(asked) == 24 == asked.total(), "two options of each of twelve items, once each"
    for answer, wanted in zip(
        answers, measure(loaded, LocalScorer(lm), tmp_path / "local.jsonl", shots=0), strict=True
    ):
        assert answer["values"] == wanted["values"]
        for option, other in zip(answer["options"], wanted["options"], strict=True):
            assert option["nats"] == pytest.approx(other["nats"], abs=1e-6)
            assert option["tokens"] == other["tokens"]
