"""Whether one sentence follows from another: ANLI as GPT-3 asks it, SNLI and SICK likewise; and paraphrases (MRPC).

GPT-3 (2020), section 3.8 and figures G.2, G.7 and G.10, where an item of ANLI begins with its round, written twice.
SNLI, SICK and MRPC are not in that paper and are asked in its manner, with `Answer:` or `answer:` on a line of its own.
"""

from __future__ import annotations

from collections.abc import Callable

from ensue.evaluate.metrics import accuracies, f1, macro_f1
from ensue.evaluate.task import Files, Item, Row, Task
from ensue.evaluate.tasks.options import continuations
from ensue.evaluate.tasks.published import label_of, one_of

WORDS = ("True", "Neither", "False")
LABELS = ("label", "gold_label", "entailment_label", "entailment_judgment")
RELATIONS = ("entailment", "neutral", "contradiction")


def _pair(row: Row) -> str:
    premise = one_of(row, "premise", "context", "sentence1", "sentence_A").strip()
    hypothesis = one_of(row, "hypothesis", "sentence2", "sentence_B").strip()
    return f"{premise}\nQuestion: {hypothesis} True, False, or Neither?"


def _relation(row: Row) -> int:
    label = one_of(row, *LABELS)
    if isinstance(label, str):
        label = {relation[0]: relation for relation in RELATIONS}.get(label.lower(), label.lower())
    return label_of({**row, "label": label}, "label", names=RELATIONS)


def _anli(number: int) -> Callable[[Row], Item]:
    def item(row: Row) -> Item:
        return continuations(f"anli {number}: anli {number}: {_pair(row)}", WORDS, _relation(row))

    return item


def _anli_task(number: int) -> Task:
    return Task(
        name=f"anli_r{number}",
        about=f"whether a sentence follows from a text, round {number} of three (GPT-3 2020, section 3.8)",
        files=Files(
            test=f"anli_r{number}_test",
            train=f"anli_r{number}_train",
            columns=("hypothesis", "label"),
            origin=f"https://github.com/facebookresearch/anli (R{number}/test.jsonl and train.jsonl)",
        ),
        item=_anli(number),
        metrics=(*accuracies("token"), macro_f1("token", classes=3)),
        scoring="token",
        shots=50,
    )


def _entailment(row: Row) -> Item:
    return continuations(f"{_pair(row)}\nAnswer:", WORDS, _relation(row))


def _has_label(row: Row) -> bool:
    """SNLI marks by - or -1 the pairs on which its annotators did not agree."""
    return one_of(row, *LABELS) not in ("-", -1)


def _entailment_task(name: str, about: str, split: str, origin: str) -> Task:
    return Task(
        name=name,
        about=f"whether a sentence follows from another: {about}, asked as ANLI is",
        files=Files(test=split, train=split, origin=origin),
        item=_entailment,
        metrics=(*accuracies("token"), macro_f1("token", classes=3)),
        scoring="token",
        keep=_has_label,
    )


SNLI = _entailment_task(
    "snli",
    "descriptions of pictures (Bowman et al. 2015)",
    "snli_dev",
    "https://nlp.stanford.edu/projects/snli (snli_1.0_dev.jsonl)",
)
SICK = _entailment_task(
    "sick",
    "plain sentences made from each other (Marelli et al. 2014)",
    "sick_train",
    "https://zenodo.org/records/2787612 (SICK.txt, named .tsv)",
)


def _mrpc(row: Row) -> Item:
    first, second = one_of(row, "sentence1", "#1 String"), one_of(row, "sentence2", "#2 String")
    context = f"{first.strip()}\n{second.strip()}\nquestion: Do the two sentences above say the same?\nanswer:"
    return continuations(context, ("no", "yes"), label_of(row, "label", "Quality", names=("no", "yes")))


MRPC = Task(
    name="mrpc",
    about="whether two sentences of the news say the same (Dolan and Brockett 2005), asked as GPT-3 asks WiC",
    files=Files(
        test="mrpc_dev",
        train="mrpc_train",
        origin="https://gluebenchmark.com/tasks (MRPC, dev.tsv and train.tsv)",
    ),
    item=_mrpc,
    metrics=(*accuracies("token"), f1("token", positive=1)),
    scoring="token",
)

TASKS = (*map(_anli_task, (1, 2, 3)), SNLI, SICK, MRPC)
