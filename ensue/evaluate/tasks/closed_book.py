"""Closed-book questions: Natural Questions, WebQuestions and TriviaQA, with nothing to read the answer from.

GPT-2 (2019), section 3.8, and GPT-3 (2020), section 3.2, figures G.24, G.34 and G.35: example questions with answers,
then the question; the answer is right if it equals one of those accepted, both normalised as for SQuAD.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from ensue.evaluate.scorer import Decoding
from ensue.evaluate.task import Files, Item, Question, Row, Task
from ensue.evaluate.tasks.published import capitalised, one_of, rows_of
from ensue.evaluate.text_metrics import exact_match, f1

_DESCRIPTION = re.compile(r'\(description (?:"((?:[^"\\]|\\.)*)"|([^()"]+))\)')


def webquestions_rows(path: str) -> Iterator[Row]:
    """Question and answers, of rows or of the original .json with `utterance` and `targetValue`."""
    rows = json.loads(Path(path).read_text(encoding="utf-8")) if path.endswith(".json") else rows_of(path)
    for row in rows:
        if "targetValue" not in row:
            yield row
            continue
        found = _DESCRIPTION.findall(row["targetValue"])
        answers = [re.sub(r"\\(.)", r"\1", quoted) or bare.strip() for quoted, bare in found]
        yield {"question": row["utterance"], "answers": answers}


def triviaqa_rows(path: str) -> Iterator[Row]:
    """Question and answers, the name first that the quiz gives, of the original .json or Hugging Face's rows."""
    if path.endswith(".json"):
        for row in json.loads(Path(path).read_text(encoding="utf-8"))["Data"]:
            yield {"question": row["Question"], "answers": _aliases(row["Answer"]["Value"], row["Answer"]["Aliases"])}
        return
    for row in rows_of(path):
        answer = row.get("answer")
        answers = _aliases(answer["value"], answer["aliases"]) if isinstance(answer, dict) else row["answers"]
        yield {"question": row["question"], "answers": answers}


def asked(row: Row) -> Item:
    """`Q: question?`, a blank line and `A:`; the question begins with a capital and ends with its mark, as in the
    paper's figures, though the published ones have neither."""
    question = capitalised(row["question"].strip())
    question = question if question.endswith(("?", "？")) else f"{question}?"
    answers = tuple(f" {answer.strip()}" for answer in one_of(row, "answers", "answer") if answer.strip())
    return Question(f"Q: {question}\n\nA:", answers)


def _aliases(value: str, aliases: Sequence[str]) -> list[str]:
    return list(dict.fromkeys([value, *aliases]))


def _task(
    name: str,
    about: str,
    *,
    test: str,
    train: str,
    origin: str,
    read: Callable[[str], Iterator[Row]] | None = None,
) -> Task:
    return Task(
        name=name,
        about=f"{about} (GPT-3 2020, section 3.2)",
        files=Files(test=test, train=train, columns=("question",), origin=origin, read=read),
        item=asked,
        metrics=(exact_match(), f1()),
        decoding=Decoding("beam", most=32),
        shots=64,
    )


NATURAL_QUESTIONS = _task(
    "nq_open",
    "questions asked of a search engine, answered from nothing; examples are drawn from the same questions",
    test="nq_open_dev",
    train="nq_open_dev",
    origin="https://github.com/google-research-datasets/natural-questions (nq_open/NQ-open.dev.jsonl)",
)
WEBQUESTIONS = _task(
    "webquestions",
    "questions asked of a search engine that name a thing",
    test="webquestions_train",
    train="webquestions_train",
    origin="https://nlp.stanford.edu/software/sempre (webquestions.examples.train.json)",
    read=webquestions_rows,
)
WEBQUESTIONS_TEST = _task(
    "webquestions_test",
    "the same, the test questions, with examples of the training questions",
    test="webquestions_test",
    train="webquestions_train",
    origin="https://nlp.stanford.edu/software/sempre (webquestions.examples.test.json)",
    read=webquestions_rows,
)
TRIVIAQA = _task(
    "triviaqa",
    "quiz questions, with every alias of the answer accepted",
    test="triviaqa_dev",
    train="triviaqa_train",
    origin="https://nlp.cs.washington.edu/triviaqa (triviaqa-unfiltered/unfiltered-web-dev.json and -train.json)",
    read=triviaqa_rows,
)

TASKS = (NATURAL_QUESTIONS, WEBQUESTIONS, WEBQUESTIONS_TEST, TRIVIAQA)
