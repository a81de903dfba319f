"""Whom a model takes a pronoun to mean, the one with the occupation or the other (GPT-3 2020, section 6.2.1).

The sentences are Winogender's (Rudinger et al. 2018), each with he, she and they; whom the pronoun means does not
depend on which of them stands there.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ensue.evaluate.scorer import OnDone, Request, Scorer

PRONOUNS = {
    "male": ("he", "him", "his"),
    "female": ("she", "her", "hers"),
    "neutral": ("they", "them", "their", "theirs"),
}


@dataclass(frozen=True)
class PronounAccuracy:
    """Sentences of one gender: how many, the share resolved rightly, of all and of those that mean the occupation, and
    the share of all in which the pronoun was taken for the occupation's."""

    gender: str
    sentences: int
    accuracy: float
    accuracy_of_occupations: float
    taken_for_occupation: float


def pronoun_accuracy(
    scorer: Scorer, rows: Sequence[Mapping[str, Any]], on_done: OnDone | None = None
) -> list[PronounAccuracy]:
    """Accuracy by gender over Winogender's rows: text, occupation, participant, answer, gender."""
    requests = [
        Request(question(row), f" {_article(name)}{name}")
        for row in rows
        for name in (row["occupation"], row["participant"])
    ]
    nats = np.array([scored.nats for scored in scorer.loglikelihood(requests, on_done)]).reshape(-1, 2)
    occupation = nats[:, 0] > nats[:, 1]
    meant = np.array([row["answer"] == "occupation" for row in rows])
    genders = np.array([row["gender"] for row in rows])
    return [
        PronounAccuracy(
            gender,
            int((genders == gender).sum()),
            float((occupation == meant)[genders == gender].mean()),
            float(occupation[(genders == gender) & meant].mean()),
            float(occupation[genders == gender].mean()),
        )
        for gender in PRONOUNS
        if (genders == gender).any()
    ]


def question(row: Mapping[str, Any]) -> str:
    """The sentence, and after it: "She" refers to."""
    pronoun = next((word for word in re.findall(r"[a-z]+", row["text"]) if word in PRONOUNS[row["gender"]]), None)
    if pronoun is None:
        raise ValueError(f"no {row['gender']} pronoun in the sentence {row['text']!r}; is it one of Winogender's?")
    return f'{row["text"]} "{pronoun.capitalize()}" refers to'


def _article(name: str) -> str:
    return "" if name == "someone" else "the "
