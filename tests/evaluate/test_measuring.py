"""Items are asked once, in groups of any size, and go on where they were stopped."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from ensue.evaluate.loading import load_task
from ensue.evaluate.local import LocalScorer
from ensue.evaluate.measuring import measure
from ensue.evaluate.metrics import accuracy
from ensue.evaluate.records import Record, read_records, was_cut
from ensue.evaluate.scorer import Decoding, OnDone, Request, Scored
from ensue.evaluate.task import Choices, Files, Item, Metric, Option, Outcome, Passage, Question, Row, Target, Task


def choices(row: Row) -> Item:
    return Choices(tuple(Option(row["start"], end) for end in row["ends"]), row["right"])


FOX = Task(
    name="fox",
    about="which end",
    files=Files("fox_test", "fox_train", columns=("start", "ends", "right"), origin="https://example.org"),
    item=choices,
    metrics=(accuracy("token"), accuracy("unconditional", name="unconditional")),
    answer_context="Answer:",
    header="Foxes and crows.\n",
)


@dataclass(frozen=True)
class Counted(LocalScorer):
    """A scorer that remembers what it was asked, and stops for good after so many calls."""

    asked: list[Request] = field(default_factory=list)
    calls: list[int] = field(default_factory=list)
    stop_after: int = 10**9

    def loglikelihood(self, requests: Sequence[Request], on_done: OnDone | None = None) -> list[Scored]:
        if len(self.calls) == self.stop_after:
            raise KeyboardInterrupt
        self.calls.append(len(requests))
        self.asked.extend(requests)
        return super().loglikelihood(requests, on_done)


def same(ones: Sequence[Record], others: Sequence[Record]) -> None:
    assert len(ones) == len(others)
    for one, other in zip(ones, others, strict=True):
        assert one["values"] == other["values"]
        assert {key: value for key, value in one.items() if key != "options"} == {
            key: value for key, value in other.items() if key != "options"
        }
        for a, b in zip(one["options"], other["options"], strict=True):
            assert a["nats"] == pytest.approx(b["nats"], abs=1e-5)
            assert a["alone"]["nats"] == pytest.approx(b["alone"]["nats"], abs=1e-5)
            assert {**a, "nats": 0, "alone": 0} == {**b, "nats": 0, "alone": 0}


@pytest.mark.parametrize("shots", [0, 2, 5])
def test_groups_change_nothing(fox_data: Path, tmp_path: Path, small_scorer: LocalScorer, shots: int) -> None:
    loaded = load_task(FOX, fox_data, shots=shots)
    whole = measure(loaded, replace(small_scorer, at_once=100), tmp_path / "whole.jsonl", shots=shots)
    assert len(whole) == 23
    for at_once in (1, 4):
        told: list[int] = []
        scorer = replace(small_scorer, at_once=at_once, pass_tokens=50 * at_once)
        found = measure(loaded, scorer, tmp_path / f"{at_once}.jsonl", shots=shots, on_items=told.append)
        same(found, whole)
        assert sum(told) == 23
    assert json.dumps(read_records(tmp_path / "whole.jsonl")) == json.dumps(whole)


def test_what_is_written_is_what_was_sent(fox_data: Path, tmp_path: Path, small_scorer: LocalScorer) -> None:
    scorer = Counted(small_scorer.lm, at_once=4)
    records = measure(load_task(FOX, fox_data, shots=2), scorer, tmp_path / "a.jsonl", shots=2)
    assert len(scorer.asked) == len(set(scorer.asked))  # each distinct text once
    told = {
        Request(record["before"] + option["context"], option["continuation"])
        for record in records
        for option in record["options"]
    }
    told |= {Request("Answer:", option["continuation"]) for record in records for option in record["options"]}
    assert told == set(scorer.asked)
    train = [json.loads(line) for line in (fox_data / "fox_train.jsonl").read_text().splitlines()]
    for record in records:
        shown = [train[row]["start"] + train[row]["ends"][train[row]["right"]] for row in record["examples"]]
        assert record["before"] == "Foxes and crows.\n" + "".join(text + "\n\n" for text in shown)
        nats = [sum(option["nats"]) / len(option["nats"]) for option in record["options"]]
        assert record["chosen"] == nats.index(max(nats))
        assert record["values"]["accuracy"] == float(record["chosen"] == record["answer"])


@pytest.mark.parametrize("half_a_line", [False, True])
def test_stopped_and_gone_on_with(fox_data: Path, tmp_path: Path, small_scorer: LocalScorer, half_a_line: bool) -> None:
    loaded = load_task(FOX, fox_data, shots=2)
    whole = measure(loaded, small_scorer, tmp_path / "whole.jsonl", shots=2)
    first = Counted(small_scorer.lm, at_once=5, stop_after=2)
    path = tmp_path / "stopped.jsonl"
    with pytest.raises(KeyboardInterrupt):
        measure(loaded, first, path, shots=2)
    assert len(read_records(path)) == 10
    if half_a_line:
        written = path.read_bytes()
        path.write_bytes(written + written[: len(written) // 17].rstrip(b"\n")[:200])
    second = Counted(small_scorer.lm, at_once=3)
    told: list[int] = []
    same(measure(loaded, second, path, shots=2, on_items=told.append), whole)
    assert told[0] == 10
    assert not set(first.asked) & set(second.asked)  # nothing twice
    same(measure(loaded, Counted(small_scorer.lm, stop_after=0), path, shots=2), whole)


def test_examples_that_do_not_fit(fox_data: Path, tmp_path: Path, small_scorer: LocalScorer) -> None:
    loaded = load_task(FOX, fox_data, shots=9)
    records = measure(loaded, small_scorer, tmp_path / "a.jsonl", shots=9)
    assert all(0 < len(record["examples"]) < 9 for record in records)
    assert not any(map(was_cut, records))
    more = measure(load_task(FOX, fox_data, shots=2), small_scorer, tmp_path / "b.jsonl", shots=2)
    for record, other in zip(records, more, strict=True):  # the nearest ones stay
        assert record["examples"][-2:] == other["examples"]


def target(row: Row) -> Item:
    return Target(row["start"], row["ends"][0])


def passage(row: Row) -> Item:
    return Passage(row["start"] + row["ends"][0], row["start"].lower())


def question(row: Row) -> Item:
    return Question(row["start"], tuple(row["ends"]))


def foretold(item: Item, outcome: Outcome) -> tuple[float, int]:
    return outcome.scores[0].nats, len(outcome.scores[0].tokens)


def written(item: Item, outcome: Outcome) -> int:
    assert outcome.text is not None
    return len(outcome.text)


@pytest.mark.parametrize(
    ("item", "metric"),
    [(target, foretold), (passage, foretold), (question, written)],
    ids=["target", "passage", "question"],
)
def test_each_kind_of_item(fox_data: Path, tmp_path: Path, small_scorer: LocalScorer, item: Any, metric: Any) -> None:
    task = replace(
        FOX,
        item=item,
        metrics=(Metric("it", metric),),
        decoding=Decoding(kind="sample", most=9, stop=()),
        answer_context=None,
        stride=30,
    )
    shots = 0 if item is passage else 1
    loaded = load_task(task, fox_data, shots=shots)
    one = measure(loaded, replace(small_scorer, at_once=1), tmp_path / "one.jsonl", shots=shots)
    all_ = measure(loaded, small_scorer, tmp_path / "all.jsonl", shots=shots)
    for a, b in zip(one, all_, strict=True):
        if item is question:
            assert a["written"] == b["written"]
            assert a["values"] == {"it": len(a["written"])}
        else:
            assert a["values"]["it"] == pytest.approx(b["values"]["it"], abs=1e-4)
        assert isinstance(a["values"]["it"], int if item is question else list)


def test_a_prompt_that_does_not_fit_is_counted(fox_data: Path, tmp_path: Path, small_scorer: LocalScorer) -> None:
    task = replace(FOX, item=lambda row: Question(row["start"] * 9, ("a",)), metrics=(), decoding=Decoding(most=20))
    [record] = measure(load_task(task, fox_data, shots=0, limit=1), small_scorer, tmp_path / "a.jsonl", shots=0)
    assert record["cut"] == small_scorer.count(record["before"] + record["prompt"]) - 76
    assert was_cut(record)


def test_limits_are_parts_of_one_another(fox_data: Path) -> None:
    few, more = (set(load_task(FOX, fox_data, shots=0, limit=count).numbers) for count in (4, 11))
    assert len(few) == 4
    assert few < more
    assert set(load_task(FOX, fox_data, shots=0, limit=4, seed=1).numbers) != few
    assert load_task(FOX, fox_data, shots=0, limit=999).numbers == tuple(range(23))


def test_what_cannot_be_asked_is_said(fox_data: Path, tmp_path: Path, small_scorer: LocalScorer) -> None:
    alone = replace(FOX, files=Files("fox_test"))
    with pytest.raises(ValueError, match="fox has no training split to draw examples from; give --shots 0"):
        load_task(alone, fox_data, shots=1)
    with pytest.raises(ValueError, match=r"foretells whole texts.*--shots 0"):
        load_task(replace(FOX, item=passage), fox_data, shots=1)
    with pytest.raises(ValueError, match="none of the 23 rows"):
        load_task(replace(FOX, keep=lambda row: False), fox_data, shots=0)
    with pytest.raises(FileNotFoundError, match=r"no owl_test.*https://example.org"):
        load_task(replace(FOX, files=replace(FOX.files, test="owl_test")), fox_data, shots=0)
    with pytest.raises(ValueError, match="--limit 0"):
        load_task(FOX, fox_data, shots=0, limit=0)


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ({"start": "a", "ends": ["b", "c"], "right": 2}, "answer is 2, of 2 options"),
        ({"start": "a", "ends": ["b", "c"], "right": -1}, "answer is -1"),
        ({"start": "a", "ends": ["b", ""], "right": 0}, "an option has no text"),
        ({"start": "a", "ends": None, "right": 0}, "TypeError"),
    ],
)
def test_a_row_that_is_no_item_is_shown(tmp_path: Path, small_scorer: LocalScorer, row: Row, said: str) -> None:
    good = {"start": "The fox", "ends": [" sang", " ran"], "right": 0}
    (tmp_path / "fox_test.jsonl").write_text(json.dumps(good) + "\n" + json.dumps(row), encoding="utf-8")
    with pytest.raises(ValueError, match=f"fox, row 1, is no item of this task: .*{said}") as error:
        measure(load_task(FOX, tmp_path, shots=0), small_scorer, tmp_path / "a.jsonl", shots=0)
    assert json.dumps(row) in str(error.value)


def test_numbers_that_are_none_are_refused_by_name(fox_data: Path, tmp_path: Path, small_model: Path) -> None:
    import torch

    from ensue.generate.load import load

    task, lm = replace(FOX, answer_context=None, metrics=FOX.metrics[:1]), load(small_model, device="cpu")
    loaded = load_task(task, fox_data, shots=0)
    texts = {
        number: [task.header + option.context + option.continuation for option in choices(loaded.rows[number]).options]
        for number in loaded.numbers
    }
    sizes = {number: max(len(lm.tokenizer.encode(text)) for text in texts[number]) for number in texts}
    longest = [number for number in sizes if sizes[number] == max(sizes.values())]
    with torch.no_grad():
        lm.model.position_embedding.weight[max(sizes.values()) - 2] = torch.nan  # where only the longest come to
    rows = "|".join(map(str, longest))
    with pytest.raises(ValueError, match=rf"fox, row ({rows}): 'Foxes .*': its log-probability is not a number"):
        measure(loaded, LocalScorer(lm), tmp_path / "a.jsonl", shots=0)
    metric = Metric("nan", lambda item, outcome: float("nan"))
    with pytest.raises(ValueError, match="fox, row 0: a metric's value is not a number"):
        measure(
            load_task(replace(FOX, metrics=(metric,)), fox_data, shots=0),
            LocalScorer(load(small_model, device="cpu")),
            tmp_path / "b.jsonl",
            shots=0,
        )
