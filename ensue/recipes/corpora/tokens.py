"""The last part of `ensue curate`: a tokenizer and token shards beside the documents make the corpus a data folder."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

from ensue.core.config import suggest
from ensue.recipes.corpora.curating import named_sources
from ensue.recipes.data import VocabularyChoice, choose_vocabulary, finish_data, is_data
from ensue.recipes.display import Display
from ensue.text.corpus import corpus_columns, read_corpus
from ensue.text.curation.curate import read_summary
from ensue.text.curation.passes import DOCUMENTS
from ensue.text.curation.store import Store
from ensue.text.held_out import plan_held_out
from ensue.text.skips import SkipReport
from ensue.tokens.byte_level import train_byte_level
from ensue.tokens.tokenizer import Tokenizer, load_tokenizer

LARGEST = 32_768
"""Of a vocabulary that is chosen by the size of the corpus."""

MIXTURE = "mixture"
DATA = "data"


def folder_of(corpus: str) -> Path:
    """The corpus' folder on this disk. Raises ValueError where it is elsewhere, since shards are memory-mapped."""
    folder = Store(corpus).folder
    if folder is None:
        raise ValueError(
            f"token shards are read from this machine's disk, and {corpus} is elsewhere: give --no-tokens, copy the "
            "corpus here when it is done, and type: ensue prepare CORPUS/documents --out DATA"
        )
    return folder


def check_weights(weights: Sequence[str], sources: Sequence[str]) -> None:
    """Raise ValueError for weights that are not those of the collections."""
    if not weights:
        return
    names = set(named_sources(sources))
    for weight in weights:
        name, equals, value = weight.partition("=")
        if not equals or not value:
            raise ValueError(f"{weight!r} is no weight of a collection; write NAME=WEIGHT, such as crawl=0.6")
        if name not in names:
            raise ValueError(f"there is no collection {name!r}{suggest(name, names)}")
    missing = names - {weight.partition("=")[0] for weight in weights}
    if missing:
        raise ValueError(f"the collection {min(missing)!r} has no weight; give one to each: --weights NAME=WEIGHT ...")


def write_tokens(
    corpus: str, *, vocab: int | None, tokenizer: Path | None, weights: Sequence[str], seed: int, display: Display
) -> Path:
    """Hold out a part, train a tokenizer or take the one given, and write shards; returns the folder to train on.

    With `weights`, each collection becomes a data folder of its own below data/, and mixture/ mixes them. Raises
    ValueError for a corpus that has its shards already.
    """
    folder = folder_of(corpus)
    summary = read_summary(Store(corpus))
    if is_data(folder) or is_data(folder / MIXTURE):
        raise ValueError(f"{corpus} has its token shards already; choose a new name for --out, or remove it first.")
    chosen = load_tokenizer(tokenizer) if tokenizer is not None else None
    if not weights:
        _finish(folder, chosen or VocabularyChoice(vocab, LARGEST), seed, display)
        return folder
    if chosen is None:
        size = vocab or choose_vocabulary(summary.bytes, LARGEST)
        display.say(f"a tokenizer of {size:,} tokens, from all collections")
        texts = (document.text for document in read_corpus(folder / DOCUMENTS))
        chosen = train_byte_level(texts, vocab_size=size, or_fewer=vocab is None)
    from ensue.recipes.mixtures import mix  # which takes torch, and with it a second to load

    parts = []
    for weight in weights:
        name, _, value = weight.partition("=")
        part = folder / DATA / name
        if not is_data(part):
            display.heading(name)
            _link_documents(folder, part, name)
            _finish(part, chosen, seed, display)
        parts.append(f"{name}={part}:{value}")
    mix(parts, folder / MIXTURE, preset=None, normalise=False)
    return folder / MIXTURE


def _finish(folder: Path, tokenizer: Tokenizer | VocabularyChoice, seed: int, display: Display) -> None:
    plan = plan_held_out(corpus_columns(folder / DOCUMENTS), seed=seed)
    display.say(plan.describe())
    finish_data(folder, plan.split, plan.describe(), tokenizer=tokenizer, skipped=SkipReport(), display=display)


def _link_documents(folder: Path, part: Path, collection: str) -> None:
    """The document files of one collection, which no other is in, under a second name."""
    shutil.rmtree(part, ignore_errors=True)
    (part / DOCUMENTS).mkdir(parents=True)
    for path in _files_of(folder, collection):
        try:
            os.link(path, part / DOCUMENTS / path.name)
        except OSError:  # a file system without links
            shutil.copyfile(path, part / DOCUMENTS / path.name)
    if not any((part / DOCUMENTS).iterdir()):
        raise ValueError(f"no document of the collection {collection!r} is in the corpus, so it cannot be mixed in.")


def _files_of(folder: Path, collection: str) -> Iterator[Path]:
    from pyarrow import parquet

    for path in sorted((folder / DOCUMENTS).glob("documents-*.parquet")):
        with parquet.ParquetFile(path) as file:
            meta = file.read_row_group(0, columns=["meta"]).column("meta")[0].as_py()
        if json.loads(meta).get("collection") == collection:
            yield path
