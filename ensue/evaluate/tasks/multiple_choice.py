"""Ways to go on, of which one is right: HellaSwag, PIQA, ARC, OpenBookQA and COPA as GPT-3 asks them.

GPT-3 (2020), appendix G shows one item of each; section 2.4 has the rules: options are compared by their mean token
log-probability, but those of ARC and OpenBookQA by P(option | context) / P(option | answer context).
"""

from __future__ import annotations

import re

from ensue.evaluate.metrics import accuracies
from ensue.evaluate.task import Files, Item, Row, Task
from ensue.evaluate.tasks.options import continuations
from ensue.evaluate.tasks.published import capitalised, one_of, place_of, question_of, sentence

WIKIHOW_MARK = re.compile(r"\s*\[(header|step|substeps)\]")


def _hellaswag(row: Row) -> Item:
    endings = tuple(_without_marks(ending) for ending in one_of(row, "choices", "endings"))
    if "context" in row:
        context = _last_sentence_capitalised(row["context"].strip())
    else:
        begun = f"{row['ctx_a']} {capitalised(row['ctx_b'])}"
        context = _without_marks(f"{row['activity_label']}: {begun}")
    return continuations(context, endings, place_of(row, "label", endings))


def _without_marks(text: str) -> str:
    """WikiHow's [title] ends a sentence and its other marks are dropped; other brackets are the author's."""
    plain = WIKIHOW_MARK.sub("", text.replace(" [title]", ". "))
    return re.sub(r" {2,}", " ", plain).strip()


def _last_sentence_capitalised(context: str) -> str:
    """Where the file joins the sentence that is broken off without a capital, as figure G.9 shows it."""
    if context.endswith((".", "!", "?")):
        return context
    start = max(context.rfind(mark) for mark in (". ", "! ", "? ")) + 2
    return context if start < 2 else context[:start] + capitalised(context[start:])


HELLASWAG = Task(
    name="hellaswag",
    about="how a scene or an instruction goes on, of four (GPT-3 2020, section 3.1.3, figure G.9)",
    files=Files(
        test="hellaswag_val_a",
        train="hellaswag_val_a",
        columns=("label",),
        origin="https://github.com/rowanz/hellaswag (data/hellaswag_val.jsonl)",
    ),
    item=_hellaswag,
    metrics=accuracies("token"),
    scoring="token",
    shots=20,
)


def _piqa(row: Row) -> Item:
    ways = row["choices"] if "choices" in row else (row["sol1"], row["sol2"])
    ways = tuple(way.strip() for way in ways)
    return continuations(row["goal"].strip(), ways, place_of(row, "label", ways))


PIQA = Task(
    name="piqa",
    about="which of two ways reaches a goal (GPT-3 2020, section 3.5, figure G.4: the goal alone, no question)",
    files=Files(
        test="piqa_valid",
        train="piqa_valid",
        columns=("goal", "label"),
        origin="https://yonatanbisk.com/piqa (valid.jsonl, with a column label from valid-labels.lst)",
    ),
    item=_piqa,
    metrics=accuracies("token"),
    scoring="token",
    shots=50,
)


def _arc(row: Row) -> Item:
    question, choices, answer = question_of(row)
    return continuations(f"Question: {question}\nAnswer:", choices, answer)


def _arc_task(name: str, about: str, original: str) -> Task:
    return Task(
        name=name,
        about=f"{about} questions of science at school (GPT-3 2020, section 3.5, figures G.11 and G.16)",
        files=Files(
            test=f"{name}_test",
            train=f"{name}_train",
            columns=("question",),
            origin=f"https://allenai.org/data/arc (ARC-V1-Feb2018, {original}-Test.jsonl and {original}-Train.jsonl)",
        ),
        item=_arc,
        metrics=accuracies("unconditional", unconditional=True),
        scoring="unconditional",
        answer_context="Answer:",
        shots=50,
    )


ARC_EASY = _arc_task("arc_easy", "easy", "ARC-Easy")
ARC_CHALLENGE = _arc_task("arc_challenge", "hard", "ARC-Challenge")


def _openbookqa(row: Row) -> Item:
    question, choices, answer = question_of(row)
    return continuations(question, tuple(sentence(choice) for choice in choices), answer)


OPENBOOKQA = Task(
    name="openbookqa",
    about="facts of science put to use (GPT-3 2020, section 3.5, figure G.8: options end with a full stop)",
    files=Files(
        test="openbookqa_dev",
        train="openbookqa_train",
        origin="https://allenai.org/data/open-book-qa (Data/Main/dev.jsonl and train.jsonl)",
    ),
    item=_openbookqa,
    metrics=accuracies("unconditional", unconditional=True),
    scoring="unconditional",
    answer_context="Answer:",
    shots=100,
)

CONNECTIVES = {"cause": "because", "effect": "therefore"}


def _copa(row: Row) -> Item:
    events = row["choices"] if "choices" in row else (row["choice1"], row["choice2"])
    relation = CONNECTIVES[one_of(row, "asks_for", "question")]
    context = f"{row['premise'].strip().removesuffix('.')} {relation}"
    return continuations(context, tuple(_inside_a_sentence(event) for event in events), place_of(row, "label", events))


def _inside_a_sentence(text: str) -> str:
    """Without the capital of a sentence's beginning, but "I" keeps its own."""
    first = re.match(r"\w+", text)
    return text if first is not None and first[0] == "I" else text[:1].lower() + text[1:]


COPA = Task(
    name="copa",
    about="which of two events is cause or effect (GPT-3 2020, section 3.7, figure G.5; effects by `therefore`)",
    files=Files(
        test="copa_dev",
        train="copa_dev",
        columns=("premise", "label"),
        origin="https://super.gluebenchmark.com/tasks (COPA, val.jsonl and train.jsonl)",
    ),
    item=_copa,
    metrics=accuracies("token"),
    scoring="token",
    shots=32,
)

TASKS = (HELLASWAG, PIQA, ARC_EASY, ARC_CHALLENGE, OPENBOOKQA, COPA)
