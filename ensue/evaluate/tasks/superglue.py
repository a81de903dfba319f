"""SuperGLUE's yes and no, true and false, as GPT-3 asks them: BoolQ, CommitmentBank, RTE and WiC.

GPT-3 (2020), section 3.7 and figures G.29 to G.32; section 2.4 names labels by words that mean something.
"""

from __future__ import annotations

from ensue.evaluate.metrics import accuracies, macro_f1
from ensue.evaluate.task import Files, Item, Row, Task
from ensue.evaluate.tasks.options import continuations
from ensue.evaluate.tasks.published import label_of, one_of

NO_YES = ("no", "yes")
SHOTS = 32
ORIGIN = "https://super.gluebenchmark.com/tasks"


def _boolq(row: Row) -> Item:
    passage = f"{row['title']} -- {row['passage']}" if "title" in row else row["passage"]
    context = f"{passage.strip()}\nquestion: {row['question'].strip().removesuffix('?')}?\nanswer:"
    return continuations(context, NO_YES, label_of(row, "label", "answer", names=NO_YES))


BOOLQ = Task(
    name="boolq",
    about="yes or no to a question on a passage (GPT-3 2020, section 3.7, figure G.29)",
    files=Files(
        test="boolq_val",
        train="boolq_val",
        columns=("passage", "question"),
        origin=f"{ORIGIN} (BoolQ, val.jsonl and train.jsonl)",
    ),
    item=_boolq,
    metrics=accuracies("token"),
    scoring="token",
    shots=SHOTS,
)


def _commitment(row: Row) -> Item:
    hypothesis = row["hypothesis"].strip().removesuffix(".")
    context = f"{row['premise'].strip()}\nquestion: {hypothesis}. true, false, or neither?\nanswer:"
    answer = label_of(row, "label", names=("entailment", "contradiction", "neutral"))
    return continuations(context, ("true", "false", "neither"), answer)


COMMITMENT_BANK = Task(
    name="cb",
    about="whether a speaker holds a clause to be true (GPT-3 2020, section 3.7, figure G.30)",
    files=Files(
        test="cb_val",
        train="cb_train",
        columns=("premise", "hypothesis", "label"),
        origin=f"{ORIGIN} (CB, val.jsonl and train.jsonl)",
    ),
    item=_commitment,
    metrics=(*accuracies("token"), macro_f1("token", classes=3)),
    scoring="token",
    shots=SHOTS,
)


def _rte(row: Row) -> Item:
    premise, hypothesis = one_of(row, "premise", "sentence1"), one_of(row, "hypothesis", "sentence2")
    context = f"{premise.strip()}\nquestion: {hypothesis.strip()} True or False?\nanswer:"
    return continuations(context, ("True", "False"), label_of(row, "label", names=("entailment", "not_entailment")))


RTE = Task(
    name="rte",
    about="whether a text makes a sentence true (GPT-3 2020, section 3.7, figure G.31)",
    files=Files(
        test="rte_test",
        train="rte_train",
        columns=("label",),
        origin=f"{ORIGIN} (RTE, val.jsonl and train.jsonl)",
    ),
    item=_rte,
    metrics=accuracies("token"),
    scoring="token",
    shots=SHOTS,
)


def _wic(row: Row) -> Item:
    asked = f"Is the word '{row['word']}' used in the same way in the two sentences above?"
    context = f"{row['sentence1'].strip()}\n{row['sentence2'].strip()}\nquestion: {asked}\nanswer:"
    return continuations(context, NO_YES, label_of(row, "label", names=NO_YES))


WIC = Task(
    name="wic",
    about="whether a word has one sense in two sentences (GPT-3 2020, section 3.7, figure G.32)",
    files=Files(
        test="wic_validation",
        train="wic_train",
        columns=("word", "sentence1", "sentence2", "label"),
        origin=f"{ORIGIN} (WiC, val.jsonl and train.jsonl)",
    ),
    item=_wic,
    metrics=accuracies("token"),
    scoring="token",
    shots=SHOTS,
)

TASKS = (BOOLQ, COMMITMENT_BANK, RTE, WIC)
