"""StoryCloze (ROCStories): which of two endings a story of four sentences has.

Mostafazadeh et al. 2016; GPT-3 (2020) section 3.1.4 shows 70 examples, drawn from the validation set.
"""

from __future__ import annotations

from ensue.evaluate.metrics import accuracies
from ensue.evaluate.task import Files, Item, Row, Task
from ensue.evaluate.tasks.options import continuations
from ensue.evaluate.tasks.published import place_of


def _item(row: Row) -> Item:
    if "InputSentence1" in row:  # the original counts the endings from 1
        endings = (row["RandomFifthSentenceQuiz1"], row["RandomFifthSentenceQuiz2"])
        story = " ".join(row[f"InputSentence{place}"].strip() for place in (1, 2, 3, 4))
        return continuations(story, endings, place_of(row, "AnswerRightEnding", endings, first=1))
    endings = (row["ending1"], row["ending2"])
    return continuations(row["context"], endings, place_of(row, "label", endings))


ROCSTORIES = Task(
    name="rocstories",
    about="the right ending of a story of four sentences, of two (GPT-3 2020, section 3.1.4)",
    files=Files(
        test="rocstories_test",
        train="rocstories_val",
        origin="https://cs.rochester.edu/nlp/rocstories (on request)",
    ),
    item=_item,
    metrics=accuracies("token"),
    scoring="token",
    shots=70,
)

TASKS = (ROCSTORIES,)
