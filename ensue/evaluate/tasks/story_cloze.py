"""StoryCloze (ROCStories): which of two endings a story of four sentences has.

Mostafazadeh et al. 2016; GPT-3 (2020) section 3.1.3 shows 70 examples, drawn from the validation set.
"""

from __future__ import annotations

from ensue.evaluate.metrics import accuracy
from ensue.evaluate.task import Choices, Files, Item, Option, Row, Task


def _item(row: Row) -> Item:
    endings = (row["ending1"], row["ending2"])
    return Choices(tuple(Option(row["context"], " " + ending) for ending in endings), int(row["label"]))


ROCSTORIES = Task(
    name="rocstories",
    about="the right ending of a story of four sentences, of two (GPT-3 2020, section 3.1.3)",
    files=Files(
        test="rocstories_test",
        train="rocstories_val",
        columns=("context", "ending1", "ending2", "label"),
        origin="https://cs.rochester.edu/nlp/rocstories (on request)",
    ),
    item=_item,
    metrics=(accuracy("token"), accuracy("sum", name="accuracy_sum"), accuracy("byte", name="accuracy_byte")),
    scoring="token",
)

TASKS = (ROCSTORIES,)
