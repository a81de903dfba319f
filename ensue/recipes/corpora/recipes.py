"""The recipes for a corpus, each a list of steps in the order they run, with the paper it follows."""

from __future__ import annotations

import runpy
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from ensue.core.config import suggest
from ensue.text.contamination.decontaminate import Decontaminate
from ensue.text.curation.step import CorpusStep, DocumentStep, Step
from ensue.text.duplicates.near import GPT3_BANDS, NearDuplicates
from ensue.text.duplicates.repeats import RepeatedTexts, RepeatedUrls
from ensue.text.filters.gopher_quality import GopherQuality
from ensue.text.filters.gopher_repetition import GopherRepetition
from ensue.text.filters.language import Language
from ensue.text.filters.length import Length
from ensue.text.filters.mend import Mend
from ensue.text.filters.personal import PersonalData
from ensue.text.quality.step import QualityFilter
from ensue.text.web.extract import Extract
from ensue.text.web.links import WebTextLinks


@dataclass(frozen=True)
class Choices:
    """What a person may say about a recipe.

    languages  documents in these are kept; () keeps all
    links      WebText's list of links: (url, score, date)
    reference  good text for the quality classifier to tell from the rest
    judged     collections that the classifier judges; () for all
    alpha      of the classifier's Pareto draw; less keeps more
    against    evaluation files whose text must not be in the corpus
    prefer     collections whose copy of a duplicate is kept, first to last
    personal   mask mail addresses, phone numbers and keys
    seed       of the quality filter's draws
    """

    languages: tuple[str, ...] = ()
    links: Path | None = None
    reference: tuple[Path, ...] = ()
    judged: tuple[str, ...] = ()
    alpha: float = 9.0
    against: tuple[Path, ...] = ()
    prefer: tuple[str, ...] = ()
    personal: bool = False
    seed: int = 0


def own(choices: Choices) -> list[Step]:
    """A person's own text: what is readable and said once; nothing is judged by its style unless asked for."""
    return [
        Extract(),
        Mend(),
        *_language(choices),
        *_personal(choices),
        Length(least_characters=1),
        RepeatedTexts(),
        NearDuplicates(prefer=choices.prefer),
        *_quality(choices),
        *_decontaminate(choices),
    ]


def webtext(choices: Choices) -> list[Step]:
    """GPT-2's WebText (2019, section 2.1): pages that people linked to with a score of 3 or more until December 2017,
    once each, without Wikipedia; text extracted, English, de-duplicated, and cleaned by heuristics, which the paper
    does not list and which are Gopher's here."""
    if choices.links is None:
        raise ValueError("the recipe webtext needs a list of links: --links FILE with the columns url, score and date.")
    return [
        WebTextLinks(links=str(choices.links)),
        RepeatedUrls(),
        Extract(),
        Mend(),
        *(_language(choices) or [Language(keep=("en",))]),
        *_personal(choices),
        GopherRepetition(),
        GopherQuality(),
        RepeatedTexts(),
        NearDuplicates(prefer=choices.prefer),
        *_decontaminate(choices),
    ]


def gpt3(choices: Choices) -> list[Step]:
    """GPT-3's Common Crawl (2020, appendix A and C): text extracted, English, filtered by a classifier that knows the
    reference text with a Pareto draw, fuzzily de-duplicated with 10 hashes, and without evaluation text."""
    if not choices.reference:
        raise ValueError(
            "the recipe gpt3 needs text of the quality you want, to tell the rest from: --reference FILES or folders."
        )
    return [
        Extract(),
        Mend(),
        *(_language(choices) or [Language(keep=("en",))]),
        *_personal(choices),
        Length(least_characters=200),
        *_quality(choices),
        RepeatedTexts(),
        NearDuplicates(**GPT3_BANDS, prefer=choices.prefer),
        *_decontaminate(choices),
    ]


def books(choices: Choices) -> list[Step]:
    """Books, as GPT's BooksCorpus and GPT-3's Books1 and Books2: whole texts, one copy of each edition."""
    return [
        Extract(),
        Mend(),
        *_language(choices),
        Length(least_characters=1000),
        RepeatedTexts(),
        NearDuplicates(threshold=0.7, prefer=choices.prefer),
        *_decontaminate(choices),
    ]


RECIPES: Mapping[str, Callable[[Choices], list[Step]]] = {"own": own, "webtext": webtext, "gpt3": gpt3, "books": books}


def steps_of(name: str, choices: Choices) -> list[Step]:
    """The steps of the recipe called `name`, or of one's own, a Python file with a list `steps`.

    ValueError names the nearest one there is, what it needs, or what is wrong with the file.
    """
    if name.endswith(".py"):
        if replace(choices, seed=0) != Choices():  # the seed also decides what is held out
            raise ValueError(f"{name} says itself what its steps do; write there what you would say by options.")
        return steps_in(Path(name))
    if name not in RECIPES:
        raise ValueError(f"there is no recipe {name!r} (a file of your own ends in .py){suggest(name, RECIPES)}")
    return RECIPES[name](choices)


def steps_in(path: Path) -> list[Step]:
    """The list `steps` of a Python file. Raises ValueError where there is none, or one that workers could not load."""
    try:
        found = runpy.run_path(str(path)).get("steps")
    except FileNotFoundError as error:
        raise ValueError(f"there is no recipe {path}; write one, or name one of {', '.join(RECIPES)}.") from error
    except Exception as error:
        raise ValueError(f"{path} could not be run: {type(error).__name__}: {error}") from error
    if not isinstance(found, list) or not found:
        example = "from ensue.recipes.corpora.steps import Extract, C4Rules; steps = [Extract(), C4Rules()]"
        raise ValueError(f"{path} has no list named steps; write for example: {example}")
    for step in found:
        if not isinstance(step, DocumentStep | CorpusStep) or isinstance(step, type):
            raise ValueError(f"{path}: {step!r} in steps is no step; a step is made, such as C4Rules().")
        if type(step).__module__ not in sys.modules:
            name = type(step).__name__
            raise ValueError(
                f"{path}: workers cannot import {name} from a recipe; put it into a module of its own that is on "
                "PYTHONPATH, and import it."
            )
    return found


def _language(choices: Choices) -> list[Step]:
    return [Language(keep=choices.languages)] if choices.languages else []


def _personal(choices: Choices) -> list[Step]:
    return [PersonalData()] if choices.personal else []


def _quality(choices: Choices) -> list[Step]:
    if not choices.reference:
        return []
    reference = tuple(map(str, choices.reference))
    return [QualityFilter(reference=reference, alpha=choices.alpha, seed=choices.seed, only=choices.judged)]


def _decontaminate(choices: Choices) -> list[Step]:
    return [Decontaminate(against=tuple(map(str, choices.against)))] if choices.against else []
