"""A task's hash changes with what it measures, and with nothing else."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from functools import partial
from typing import Any

from ensue.evaluate.definition import definition_digest
from ensue.evaluate.metrics import accuracy
from ensue.evaluate.task import Files, Item, Row, Target, Task

SPACE = " "


def first(row: Row) -> Item:
    return Target(row["text"], SPACE + row["word"])


def second(row: Row, mark: str = ".") -> Item:
    return Target(row["text"], SPACE + row["word"] + mark)


TASK = Task(name="t", about="", files=Files("t_test"), item=first, metrics=(accuracy("token"),))


def test_each_part_counts(monkeypatch: Any) -> None:
    digest = definition_digest(TASK)
    assert digest == definition_digest(replace(TASK))
    others = [
        replace(TASK, separator="\n"),
        replace(TASK, files=Files("t_test", columns=("text",))),
        replace(TASK, item=second),
        replace(TASK, item=partial(second, mark="!")),
        replace(TASK, item=partial(second, mark="?")),
        replace(TASK, keep=lambda row: True),
        replace(TASK, metrics=(accuracy("sum", name="accuracy"),)),  # only what the function closes over differs
    ]
    assert len({digest, *map(definition_digest, others)}) == 1 + len(others)
    monkeypatch.setattr(sys.modules[__name__], "SPACE", "_")
    assert definition_digest(TASK) != digest


def test_the_same_in_another_process() -> None:
    code = (
        "from ensue.evaluate.builtin import BUILT_IN\nfrom ensue.evaluate.definition import definition_digest\n"
        "print(*map(definition_digest, BUILT_IN))"
    )
    said = [
        subprocess.run(
            [sys.executable, "-c", code],
            capture_output=True,
            text=True,
            check=True,
            env={**os.environ, "PYTHONHASHSEED": seed},
        ).stdout
        for seed in ("1", "2")
    ]
    assert said[0] == said[1]
    assert len(said[0].split()[0]) == 64
