"""Questions on a text with four answers each: RACE and MCTest, as GPT-3 asks the former.

GPT-3 (2020), section 3.6 and figures G.1 and G.3: the article, then its questions with their right answers up to the
one that is asked; options are compared by P(option | context) / P(option | "A:").
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

from ensue.evaluate.metrics import accuracies, accuracy_of
from ensue.evaluate.task import Files, Item, Row, Task
from ensue.evaluate.tasks.options import continuations
from ensue.evaluate.tasks.published import label_of, rows_of

LETTERS = ("A", "B", "C", "D")


def race_rows(path: str) -> Iterator[Row]:
    """RACE's questions, one a row with those `before` it on the same article.

    `path` is the original folder of .txt files, each an article with its questions as JSON, or a file of rows, each an
    article or one question of it.
    """
    if Path(path).is_dir():
        files = sorted(Path(path).glob("*.txt"))
        if not files:
            raise ValueError(f"{path} holds no .txt files, of which each is one of RACE's articles.")
        for file in files:
            yield from _questions(json.loads(file.read_text(encoding="utf-8")))
        return
    article: str | None = None
    before: list[tuple[str, str]] = []
    for row in rows_of(path):
        if "questions" in row:
            yield from _questions(row)
            continue
        if row["article"] != article:
            article, before = row["article"], []
        yield {**row, "before": tuple(before)}
        before.append((row["question"], row["options"][LETTERS.index(row["answer"])]))


def _questions(article: Row) -> Iterator[Row]:
    before: list[tuple[str, str]] = []
    asked = zip(article["questions"], article["options"], article["answers"], strict=True)
    for question, options, answer in asked:
        yield {
            "article": article["article"],
            "before": tuple(before),
            "question": question,
            "options": options,
            "answer": answer,
        }
        before.append((question, options[LETTERS.index(answer)]))


def _race(row: Row) -> Item:
    asked = "".join(f"Q: {question.strip()}\n\nA: {answer.strip()}\n\n" for question, answer in row["before"])
    context = f"Article:\n{row['article'].strip()}\n\n{asked}Q: {row['question'].strip()}\n\nA:"
    options = [option.strip() for option in row["options"]]
    return continuations(context, options, label_of(row, "answer", names=LETTERS))


def _race_task(level: str, pupils: str) -> Task:
    return Task(
        name=f"race_{level}",
        about=f"English exams of {pupils} pupils in China (GPT-3 2020, section 3.6, figures G.1 and G.3)",
        files=Files(
            test=f"race_{level}_test",
            train=f"race_{level}_train",
            columns=("article", "question", "options", "answer"),
            origin=f"https://www.cs.cmu.edu/~glai1/data/race (the folders test/{level} and train/{level})",
            read=race_rows,
        ),
        item=_race,
        metrics=accuracies("unconditional", unconditional=True),
        scoring="unconditional",
        answer_context="A:",
        shots=10,
    )


RACE_HIGH = _race_task("high", "older")
RACE_MIDDLE = _race_task("middle", "younger")


def _mctest(row: Row) -> Item:
    context = f"{row['story'].strip()}\n\nQ: {row['question'].strip()}\n\nA:"
    choices = [choice.strip() for choice in row["choices"]]
    return continuations(context, choices, label_of(row, "label", names=LETTERS), key=row["needs"])


MCTEST = Task(
    name="mctest160",
    about="children's stories with four answers to each question (Richardson et al. 2013), asked as GPT-3 asks RACE",
    files=Files(
        test="mctest160",
        train="mctest160",
        columns=("story", "question", "choices", "label", "needs"),
        origin="https://mattr1.github.io/mctest (MCTest160)",
    ),
    item=_mctest,
    metrics=(
        *accuracies("unconditional", unconditional=True),
        accuracy_of("one", "unconditional", name="accuracy_one_sentence"),
        accuracy_of("multiple", "unconditional", name="accuracy_several_sentences"),
    ),
    scoring="unconditional",
    answer_context="A:",
)

TASKS = (RACE_HIGH, RACE_MIDDLE, MCTEST)
