"""GSM8K: sums told as stories, worked out in words (Cobbe et al. 2021).

Younger than the papers that the other tasks follow; text and rule are those usual since: `Question:`, `Answer:`, the
worked answer, and the number after `####`. A model writes until it asks a question of its own.
"""

from __future__ import annotations

import re

from ensue.evaluate.scorer import Decoding
from ensue.evaluate.task import Files, Item, Question, Row, Task
from ensue.evaluate.text_metrics import same_text

_FINAL = re.compile(r"#### (-?[0-9.,]+)")
_NUMBER = re.compile(r"-?[$0-9.,]{2,}|-?[0-9]+")


def final_number(text: str) -> str:
    """The number after the first `####`, as `plain` writes it; nothing where there is none."""
    found = _FINAL.search(text)
    return plain(found[1]) if found else ""


def last_number(text: str) -> str:
    """The last number of a text, as `plain` writes it; nothing where there is none."""
    found = _NUMBER.findall(text)
    return plain(found[-1]) if found else ""


def plain(number: str) -> str:
    """A number without commas, dollar signs and the full stop after it."""
    return re.sub(r"[,$]", "", number).removesuffix(".").strip()


def _item(row: Row) -> Item:
    return Question(f"Question: {row['question']}\nAnswer:", (f" {row['answer']}", final_number(row["answer"])))


GSM8K = Task(
    name="gsm8k",
    about="school sums in words, worked out before the number is told (Cobbe et al. 2021)",
    files=Files(
        test="gsm8k_test",
        train="gsm8k_train",
        columns=("question", "answer"),
        origin="https://github.com/openai/grade-school-math (grade_school_math/data)",
    ),
    item=_item,
    metrics=(
        same_text(name="exact_match", read=final_number),
        same_text(name="exact_match_last_number", read=last_number),
    ),
    decoding=Decoding("greedy", most=256, stop=("Question:",)),
    shots=5,
)

TASKS = (GSM8K,)
