"""All probes of one model as one report, which says what it measures and what it cannot."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ensue.evaluate.probes.occupations import CONTEXTS, OCCUPATIONS, OccupationLeans, occupation_leans
from ensue.evaluate.probes.pronouns import PronounAccuracy, pronoun_accuracy
from ensue.evaluate.probes.sentiment import Sentiment, sentiments
from ensue.evaluate.probes.words import (
    GENDER,
    RACE,
    RELIGION,
    Favoured,
    Group,
    count_words,
    favoured_words,
    write_of_groups,
)
from ensue.evaluate.scorer import OnDone, Scorer

MEASURES = (
    "These are associations in the model's text, measured with fixed English prompts: which gender follows an "
    "occupation, whom a pronoun is taken to mean, which words come with a group of people, and how pleasant those are."
)
CANNOT = (
    "They are not a measure of harm, nor of what an application built on the model will do.",
    "Prompts name groups in one language, one wording and a few coarse categories; other wordings give other numbers.",
    "Two genders are compared because the probe's words are; people who are neither are not measured.",
    "A number near zero may mean balance, or a model too small to associate anything: look at the samples.",
    "Words are weighed one by one; negation, irony and quotation are not seen.",
    "Differences in the training text and differences the training added are not told apart.",
)


@dataclass(frozen=True)
class GroupWords:
    """What was written of some groups: the words each is favoured with, the sentiment of its words, some samples."""

    favoured: Mapping[str, Sequence[Favoured]]
    sentiment: Mapping[str, Sentiment]
    samples: Mapping[str, Sequence[str]]


@dataclass(frozen=True)
class Probes:
    """Everything that was measured, and how many samples of each prompt were written."""

    occupations: Sequence[OccupationLeans]
    pronouns: Sequence[PronounAccuracy]
    groups: Mapping[str, GroupWords]
    samples: int
    seed: int


def run_probes(
    scorer: Scorer,
    *,
    winogender: Sequence[Mapping[str, Any]] = (),
    samples: int = 100,
    seed: int = 0,
    progress: Callable[[str, int], OnDone | None] = lambda what, requests: None,
) -> Probes:
    """Run all probes. Without Winogender's rows, pronouns are left out and occupations stand without statistics.

    `progress` is told what begins and how many requests it makes, and returns what counts them.
    """
    at_work = {row["occupation"]: float(row["pct_female_bls"]) for row in winogender}
    leans = occupation_leans(
        scorer, at_work=at_work, on_done=progress("occupations", 6 * len(CONTEXTS) * len(OCCUPATIONS))
    )
    pronouns = pronoun_accuracy(scorer, winogender, progress("pronouns", 2 * len(winogender))) if winogender else []
    groups = {}
    for name, of_kind in (("gender", GENDER), ("race", RACE), ("religion", RELIGION)):
        prompts = sum(len(group.prompts) for group in of_kind)
        groups[name] = _group_words(scorer, of_kind, samples, seed, progress(name, prompts * samples))
    return Probes(leans, pronouns, groups, samples, seed)


def _group_words(
    scorer: Scorer, groups: Sequence[Group], samples: int, seed: int, on_done: OnDone | None
) -> GroupWords:
    texts = write_of_groups(scorer, groups, samples=samples, seed=seed, on_done=on_done)
    counts = {name: count_words(written) for name, written in texts.items()}
    shown = {name: written[:3] for name, written in texts.items()}
    return GroupWords(favoured_words(counts), sentiments(counts), shown)


def as_markdown(probes: Probes, model: str) -> str:
    """The report for people."""
    lines = [f"# What {model} associates with groups of people", "", MEASURES, "", "What it cannot tell:", ""]
    lines += [f"- {sentence}" for sentence in CANNOT]
    lines += ["", "## Gender and occupation (GPT-3 2020, section 6.2.1)", ""]
    lines += ["| context | mean ln P(female)/P(male) | towards men | with women at work, r |", "|---|---|---|---|"]
    for leans in probes.occupations:
        correlation = "" if leans.correlation is None else f"{leans.correlation:.2f}"
        lines.append(
            f"| {leans.context} | {leans.mean:+.2f} ± {leans.error:.2f} | {leans.male_share:.0%} | {correlation} |"
        )
    lines += ["", "GPT-3 175B: -1.11 and 83% in the first context, -2.14 in the second, -1.15 in the third.", ""]
    neutral = probes.occupations[0].leans
    lines.append("Most towards men: " + ", ".join(f"{lean.occupation} {lean.log_ratio:+.1f}" for lean in neutral[:8]))
    lines.append("")
    women = ", ".join(f"{lean.occupation} {lean.log_ratio:+.1f}" for lean in reversed(neutral[-8:]))
    lines.append("Most towards women: " + women)
    if probes.pronouns:
        lines += ["", "## Whom a pronoun means (Winogender)", ""]
        lines += [
            "| pronoun | sentences | right | right where the occupation is meant | taken for the occupation |",
            "|---|---|---|---|---|",
        ]
        lines += [
            f"| {row.gender} | {row.sentences} | {row.accuracy:.1%} | {row.accuracy_of_occupations:.1%} "
            f"| {row.taken_for_occupation:.1%} |"
            for row in probes.pronouns
        ]
    for kind, words in probes.groups.items():
        lines += [
            "",
            f"## Words by {kind}",
            "",
            f"{probes.samples} samples of each prompt, at most 50 tokens each.",
            "",
        ]
        lines += ["| group | sentiment, -100 to 100 | words favoured (z) |", "|---|---|---|"]
        for group, favoured in words.favoured.items():
            shown = ", ".join(f"{word.word} ({word.z:.1f})" for word in favoured)
            lines.append(f"| {group} | {_shown(words.sentiment[group])} | {shown} |")
    return "\n".join([*lines, ""])


def _shown(sentiment: Sentiment) -> str:
    if sentiment.mean is None:
        return f"too few words ({sentiment.words})"
    return f"{sentiment.mean:+.1f} ± {sentiment.error:.1f} ({sentiment.words} words)"
