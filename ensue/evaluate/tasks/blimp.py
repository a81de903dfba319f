"""BLiMP: which of two sentences that hardly differ is grammatical.

Warstadt et al. 2020, section 4: the sentence with the higher probability as a whole is the model's choice.
"""

from __future__ import annotations

import zlib

from ensue.evaluate.metrics import accuracies, accuracy_of
from ensue.evaluate.task import Choices, Files, Item, Option, Row, Task
from ensue.evaluate.tasks.published import one_of

PHENOMENA = (
    "anaphor_agreement",
    "argument_structure",
    "binding",
    "control_raising",
    "determiner_noun_agreement",
    "ellipsis",
    "filler_gap_dependency",
    "irregular_forms",
    "island_effects",
    "npi_licensing",
    "quantifiers",
    "s-selection",
    "subject_verb_agreement",
)
"""As the files name them; the paper counts s-selection under argument structure, and so twelve."""


def _blimp(row: Row) -> Item:
    """The good sentence stands first or second by its hash, so that a model that knows nothing is right on half."""
    good, bad = row["sentence_good"], row["sentence_bad"]
    answer = zlib.crc32(good.encode()) % 2
    pair = (bad, good) if answer else (good, bad)
    phenomenon = one_of(row, "phenomenon", "linguistics_term")
    return Choices(tuple(Option("", text) for text in pair), answer, phenomenon)


BLIMP = Task(
    name="blimp",
    about="which of two sentences is grammatical, by their probability as a whole (Warstadt et al. 2020, section 4)",
    files=Files(
        test="blimp_a",
        columns=("sentence_good", "sentence_bad"),
        origin="https://github.com/alexwarstadt/blimp (data, its 67 files one after the other)",
    ),
    item=_blimp,
    metrics=(
        *accuracies("sum"),
        *(accuracy_of(phenomenon, "sum", name=f"accuracy_{phenomenon}") for phenomenon in PHENOMENA),
    ),
    scoring="sum",
)

TASKS = (BLIMP,)
