"""The Children's Book Test: which of ten words is missing in a sentence, after the twenty before it.

Hill et al. 2016. GPT-2 (2019, section 3.2) takes the word with the highest P(word and the rest of the sentence), on the
validation set, whose text it de-tokenizes.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from ensue.evaluate.metrics import accuracies
from ensue.evaluate.task import Choices, Files, Item, Option, Row, Task
from ensue.evaluate.tasks.published import rows_of

MISSING = "XXXXX"
BRACKETS = {"-LRB-": "(", "-RRB-": ")", "-LSB-": "[", "-RSB-": "]", "-LCB-": "{", "-RCB-": "}"}
QUOTES = {"``": '"', "''": '"', "`": "'"}
OPENING = frozenset(("``", "`", "-LRB-", "-LSB-", "-LCB-", "$", "£"))
JOINED_LEFT = re.compile(r"[.,;:!?%]+|\.{2,}|''|'|'\w+|n't|N'T|-R[RSC]B-")


def cbt_rows(path: str) -> Iterator[Row]:
    """Questions of the original files: twenty numbered sentences, then one with the gap, its word and ten candidates.

    `path` is a .txt as published, or a file of rows with columns `sentences`, `question`, `answer` and `options`.
    Raises ValueError naming the line of a question that is not so.
    """
    if not path.endswith(".txt"):
        yield from rows_of(path)
        return
    sentences: list[str] = []
    for number, line in enumerate(Path(path).read_text(encoding="utf-8").split("\n"), start=1):
        if not line.strip():
            continue
        place, _, text = line.partition(" ")
        if place == "1":
            sentences = []
        if place != "21":
            sentences.append(text)
            continue
        columns = [column.strip() for column in text.split("\t") if column.strip()]
        if len(columns) != 3 or MISSING not in columns[0] or columns[1] not in columns[2].split("|"):
            raise ValueError(
                f"{path}, line {number}: no question with a gap {MISSING}, its word and candidates: {line}"
            )
        question, answer, candidates = columns
        yield {"sentences": sentences, "question": question, "answer": answer, "options": candidates.split("|")}


def _cbt(row: Row) -> Item:
    sentences = [written(sentence) for sentence in (*row["sentences"], row["question"])]
    before, rest = " ".join(sentences).split(MISSING, 1)
    space = " " if before.endswith(" ") else ""
    options = (Option(before.removesuffix(" "), space + word + rest.replace(MISSING, word)) for word in row["options"])
    return Choices(tuple(options), row["options"].index(row["answer"]))


def written(tokens: str) -> str:
    """A sentence as it was before Stanford's tokenizer parted its words and signs."""
    text, join = "", True
    for token in tokens.split():
        if not join and not JOINED_LEFT.fullmatch(token):
            text += " "
        text += BRACKETS.get(token, QUOTES.get(token, token))
        join = token in OPENING
    return text


def _cbt_task(kind: str, words: str) -> Task:
    return Task(
        name=f"cbt_{kind.lower()}",
        about=f"which of ten {words} is missing in a story's sentence (GPT-2 2019, section 3.2)",
        files=Files(
            test=f"cbtest_{kind}_valid_2000ex",
            train=f"cbtest_{kind}_train",
            columns=("sentences", "question", "answer", "options"),
            origin="https://research.fb.com/downloads/babi (Children's Book Test, CBTest/data)",
            read=cbt_rows,
        ),
        item=_cbt,
        metrics=accuracies("sum"),
        scoring="sum",
    )


CBT_COMMON_NOUNS = _cbt_task("CN", "common nouns")
CBT_NAMES = _cbt_task("NE", "names")

TASKS = (CBT_COMMON_NOUNS, CBT_NAMES)
