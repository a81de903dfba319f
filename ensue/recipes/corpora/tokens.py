"""The last part of `ensue curate`: a tokenizer and token shards beside the documents make the corpus a data folder."""

from __future__ import annotations

from pathlib import Path

from ensue.recipes.data import VocabularyChoice, finish_data, is_data
from ensue.recipes.display import Display
from ensue.text.corpus import corpus_columns
from ensue.text.curation.curate import read_summary
from ensue.text.curation.passes import DOCUMENTS
from ensue.text.curation.store import Store
from ensue.text.held_out import plan_held_out
from ensue.text.skips import SkipReport
from ensue.tokens.tokenizer import load_tokenizer

LARGEST = 32_768
"""Of a vocabulary that is chosen by the size of the corpus."""


def folder_of(corpus: str) -> Path:
    """The corpus' folder on this disk. Raises ValueError where it is elsewhere, since shards are memory-mapped."""
    folder = Store(corpus).folder
    if folder is None:
        raise ValueError(
            f"token shards are read from this machine's disk, and {corpus} is elsewhere: give --no-tokens, copy the "
            "corpus here when it is done, and type: ensue prepare CORPUS/documents --out DATA"
        )
    return folder


def write_tokens(corpus: str, *, vocab: int | None, tokenizer: Path | None, seed: int, display: Display) -> None:
    """Hold out a part, train a tokenizer or take the one given, and write shards.

    Raises ValueError for a corpus that has them already.
    """
    folder = folder_of(corpus)
    read_summary(Store(corpus))
    if is_data(folder):
        raise ValueError(
            f"{corpus} is finished, with its token shards; choose a new name for --out, or remove it first."
        )
    plan = plan_held_out(corpus_columns(folder / DOCUMENTS), seed=seed)
    display.say(plan.describe())
    choice = load_tokenizer(tokenizer) if tokenizer is not None else VocabularyChoice(vocab, LARGEST)
    finish_data(folder, plan.split, plan.describe(), tokenizer=choice, skipped=SkipReport(), display=display)
