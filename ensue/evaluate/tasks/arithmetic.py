"""GPT-3's arithmetic: ten tasks of 2,000 sums, asked in words (GPT-3 2020, section 3.9.1, figures G.42 to G.51).

The text is that of the published files, blank lines and all, so that nothing stands between examples. The answer is
written by beam search, as the paper writes all free text, up to the end of its line. Beside each task one of the name
with `_likelihood` asks the cheaper question whether the right answer is the likeliest, token by token, which says a
little more of small models: its perplexity moves long before an answer is right.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from ensue.evaluate.likelihood_metrics import foretold, target_perplexity
from ensue.evaluate.scorer import Decoding
from ensue.evaluate.task import Files, Item, Question, Row, Target, Task
from ensue.evaluate.tasks.published import rows_of
from ensue.evaluate.text_metrics import same_text

KINDS = {
    "two_digit_addition": "2D+, two numbers below 100",
    "two_digit_subtraction": "2D-, two numbers below 100, the difference may be negative",
    "three_digit_addition": "3D+, two numbers below 1,000",
    "three_digit_subtraction": "3D-, two numbers below 1,000",
    "four_digit_addition": "4D+, two numbers below 10,000",
    "four_digit_subtraction": "4D-, two numbers below 10,000",
    "five_digit_addition": "5D+, two numbers below 100,000",
    "five_digit_subtraction": "5D-, two numbers below 100,000",
    "two_digit_multiplication": "2Dx, two numbers below 100",
    "single_digit_three_ops": "1DC, three numbers below 10 and two operations, one pair in brackets",
}


def arithmetic_rows(path: str) -> Iterator[Row]:
    """Rows with their `task`; of a folder of the published files, a file's name says which."""
    if not Path(path).is_dir():
        yield from rows_of(path)
        return
    for file in sorted(Path(path).glob("*.jsonl*")):
        for row in rows_of(str(file)):
            yield {"task": file.name.partition(".")[0], **row}


def completion(row: Row) -> Item:
    """The published context, to be gone on with freely."""
    return Question(row["context"], (row["completion"],))


def likelihood(row: Row) -> Item:
    """The published context, and whether its completion is what the model foretells."""
    return Target(row["context"], row["completion"])


def _task(kind: str, sums: str, *, written: bool) -> Task:
    return Task(
        name=kind if written else f"{kind}_likelihood",
        about=f"arithmetic {sums} (GPT-3 2020, section 3.9.1)",
        files=Files(
            test="gpt3_arithmetic",
            train="gpt3_arithmetic",
            columns=("task", "context", "completion"),
            origin="https://github.com/openai/gpt-3 (the ten files of its folder data, in a folder gpt3_arithmetic)",
            read=arithmetic_rows,
        ),
        item=completion if written else likelihood,
        metrics=(same_text(),) if written else (foretold(), target_perplexity()),
        separator="",
        keep=lambda row: row["task"] == kind,
        decoding=Decoding("beam", most=12),
        shots=50,
    )


TASKS = (
    *(_task(kind, sums, written=True) for kind, sums in KINDS.items()),
    *(_task(kind, sums, written=False) for kind, sums in KINDS.items()),
)
