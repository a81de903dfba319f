"""LAMBADA: the last word of a passage, which only the whole passage tells.

GPT-2 (2019), section 3.3: the natural text, and the word as its likeliest continuation; with a filter, the likeliest
word that is no stop word. GPT-3 (2020), section 3.1.1 and figure G.21, has the same without examples, and with some a
text with a blank in it. The word is scored whole, all its tokens; GPT-2's published figures are of its last token.
"""

from __future__ import annotations

import re

from ensue.evaluate.likelihood_metrics import foretold, target_perplexity
from ensue.evaluate.scorer import Decoding
from ensue.evaluate.stop_words import STOP_WORDS
from ensue.evaluate.task import Files, Item, Metric, Outcome, Question, Row, Target, Task
from ensue.evaluate.tasks.published import one_of

BLANK = " ___. ->"

_FILES = Files(
    test="lambada_test",
    train="lambada_test",  # no other part is published as natural text
    origin="https://openaipublic.blob.core.windows.net/gpt-2/data/lambada_test.jsonl",
)
_EDGES = re.compile(r"^[\W_]+|[\W_]+$")


def passage(row: Row) -> tuple[str, str]:
    """The passage and its last word; where a row has the whole `text`, that is what follows its last space."""
    if "target" in row:
        return row["context"], row["target"]
    context, _, word = one_of(row, "text").rpartition(" ")
    return context, word


def same_word(name: str = "accuracy") -> Metric:
    """Whether the word written is the right one, but for case and for the marks around either."""

    def value(item: Item, outcome: Outcome) -> float:
        assert isinstance(item, Question)
        assert outcome.text is not None
        return float(_bare(outcome.text) == _bare(item.answers[0]))

    return Metric(name, value)


def _bare(word: str) -> str:
    return _EDGES.sub("", word.strip()).lower()


def _continued(row: Row) -> Item:
    context, word = passage(row)
    return Target(context, f" {word}")


def _filled_in(row: Row) -> Item:
    context, word = passage(row)
    return Target(context + BLANK, f" {word}")


def _written(row: Row) -> Item:
    context, word = passage(row)
    return Question(context, (f" {word}",))


LAMBADA = Task(
    name="lambada",
    about="the last word of a passage as its likeliest continuation (GPT-2 2019, section 3.3; GPT-3 2020, 3.1.1)",
    files=_FILES,
    item=_continued,
    metrics=(foretold(), target_perplexity()),
)
LAMBADA_STOP_WORDS = Task(
    name="lambada_stop_words",
    about="the likeliest last word that is no stop word (GPT-2 2019, section 3.3)",
    files=_FILES,
    item=_written,
    metrics=(same_word(),),
    decoding=Decoding("word", most=8, avoid=STOP_WORDS),
)
LAMBADA_CLOZE = Task(
    name="lambada_cloze",
    about="the last word of a passage as what fills in a blank (GPT-3 2020, section 3.1.1, figure G.21)",
    files=_FILES,
    item=_filled_in,
    metrics=(foretold(), target_perplexity()),
    header="Fill in blank:\n\n",
    shots=15,
)

TASKS = (LAMBADA, LAMBADA_STOP_WORDS, LAMBADA_CLOZE)
