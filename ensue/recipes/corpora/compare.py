"""Which of two corpora teaches more: the same small model trained on each for as many tokens, scored on common text."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np

from ensue.core.files import folder_aside
from ensue.core.run import RunFolder
from ensue.core.seeds import seed_for
from ensue.generate.score import loglikelihoods
from ensue.model.presets import preset
from ensue.recipes.corpora.calibration import documents_of
from ensue.recipes.data import choose_vocabulary, prepare_documents, refuse_existing
from ensue.recipes.display import Display
from ensue.recipes.papers import RECIPES
from ensue.recipes.pictures import BLUE, RED, picture
from ensue.recipes.training import RunResult, start_run
from ensue.text.cutting import cut_point
from ensue.text.document import Document
from ensue.tokens.byte_level import train_byte_level
from ensue.tokens.tokenizer import Tokenizer

HELD_OUT_BYTES = 400_000
"""Of held-out text, about, half of it from each corpus where none is given."""

PIECE = 4000
FEWEST_PIECES = 20
TOKENIZER_BYTES = 20_000_000
BATCH_TOKENS, FEWEST_STEPS = 8192, 20
RESAMPLES = 2000
INTERVAL = (2.5, 97.5)


@dataclass(frozen=True)
class Comparison:
    """What came out, in bits per byte of the common held-out text.

    first, second  the model trained on either corpus, mean over the seeds
    difference     second - first: below 0, the second corpus teaches more
    low, high      95% interval of the difference, from resampling pieces of held-out text in pairs
    by_seed        the difference of each seed, which the interval does not cover
    tokens, pieces, bytes   training tokens of each model, and what was scored
    """

    first: float
    second: float
    difference: float
    low: float
    high: float
    by_seed: tuple[float, ...]
    tokens: int
    pieces: int
    bytes: int


def compare_corpora(
    first: Path,
    second: Path,
    out: Path,
    *,
    tokens: int,
    seeds: int,
    model: str,
    held_out: Path | None,
    display: Display,
) -> Comparison:
    """Train preset `model` on each corpus and compare; results.json, the runs and a picture go into `out`.

    The tokenizer is trained on both alike. Without `held_out`, a part of each corpus is held out, and documents with
    the same text are kept from both training sets. Raises ValueError where a corpus or the held-out text is too small.
    """
    refuse_existing(out)
    with folder_aside(out) as aside:
        held = _held_out((first, second), held_out)
        texts = {_key(document) for document in held}
        pieces = [piece for document in held for piece in _pieces(document)]
        if len(pieces) < FEWEST_PIECES:
            raise ValueError(
                f"only {len(pieces)} pieces of held-out text are too few for an interval; give more: --held-out TEXT"
            )
        tokenizer = _tokenizer((first, second), texts, display)
        bits = []
        for name, corpus in (("first", first), ("second", second)):
            display.heading(f"{name}: {corpus}")
            kept = (document for document in documents_of(corpus) if _key(document) not in texts)
            prepare_documents(
                kept,
                held,
                aside / name / "data",
                vocab=None,
                tokenizer=tokenizer,
                held_out_reason="held out: text common to both sides",
                display=display,
            )
            scores = [_scores(_train(aside / name, tokens, seed, model, display), pieces) for seed in range(seeds)]
            bits.append(np.array(scores))  # (S, D)
        sizes = np.array([len(piece.encode()) for piece in pieces], dtype=float)
        one, other = bits
        comparison = _compare(one, other, sizes, tokens)
        (aside / "results.json").write_text(json.dumps(asdict(comparison), indent=1) + "\n", encoding="utf-8")
        _draw(one.mean(0) / sizes, other.mean(0) / sizes, comparison, aside / "compare.png")
    return comparison


def describe(comparison: Comparison, first: Path, second: Path) -> str:
    """What came out, for people."""
    better = "no difference that this text can show"
    if min(comparison.by_seed) < 0 < max(comparison.by_seed):
        better = "the seeds disagree, so no difference is shown"
    elif comparison.high < 0:
        better = f"{second} teaches more"
    elif comparison.low > 0:
        better = f"{first} teaches more"
    seeds = ", ".join(f"{difference:+.4f}" for difference in comparison.by_seed)
    return (
        f"{first}: {comparison.first:.4f} bits per byte\n{second}: {comparison.second:.4f} bits per byte\n"
        f"difference {comparison.difference:+.4f} (95% interval {comparison.low:+.4f} to {comparison.high:+.4f}, "
        f"{comparison.pieces:,} pieces in pairs): {better}\n"
        f"by seed {seeds}; {comparison.tokens:,} training tokens each, {comparison.bytes:,} bytes scored"
    )


def _held_out(corpora: Sequence[Path], given: Path | None) -> list[Document]:
    """The given text, or about as much of each corpus, chosen by the hash of the text itself."""
    if given is not None:
        return _enough(documents_of(given), 4 * HELD_OUT_BYTES)
    chosen: dict[int, Document] = {}
    for corpus in corpora:
        keys = sorted((_key(document), len(document.text.encode())) for document in documents_of(corpus))
        total = sum(size for _, size in keys)
        if len(keys) < 20:
            raise ValueError(f"{corpus} has only {len(keys)} documents; say what to score on: --held-out TEXT")
        wanted, taken, last = min(HELD_OUT_BYTES / 2, total / 10), 0, 0
        for key, size in keys:
            if taken >= wanted:
                break
            taken, last = taken + size, key
        for document in documents_of(corpus):
            if _key(document) <= last and document.text.strip():
                chosen.setdefault(_key(document), document)
    return [chosen[key] for key in sorted(chosen)]


def _enough(documents: Iterable[Document], most: int) -> list[Document]:
    """Documents in the order of a hash of their texts, until they have `most` bytes."""
    held, size = [], 0
    for document in sorted(documents, key=_key):
        if size < most and document.text.strip():
            held.append(document)
            size += len(document.text.encode())
    return held


def _pieces(document: Document) -> Iterator[str]:
    """The text in pieces of at most PIECE characters, which are what is scored and resampled."""
    text = document.text
    while len(text) > PIECE:
        cut = cut_point(text, PIECE // 2, PIECE)
        yield text[:cut]
        text = text[cut:]
    if text:
        yield text


def _key(document: Document) -> int:
    return seed_for(0, "compare", document.text)


def _tokenizer(corpora: Sequence[Path], held: set[int], display: Display) -> Tokenizer:
    def texts(corpus: Path) -> Iterator[str]:
        taken = 0
        for document in documents_of(corpus):
            if _key(document) not in held and taken < TOKENIZER_BYTES // 2:
                taken += len(document.text.encode())
                yield document.text

    sizes = [sum(len(text.encode()) for text in texts(corpus)) for corpus in corpora]
    if not all(sizes):
        empty = corpora[sizes.index(0)]
        raise ValueError(f"{empty} has no text but what is held out; compare larger corpora, or give --held-out TEXT.")
    vocab = choose_vocabulary(min(sizes), 4096)
    display.say(f"a common tokenizer of {vocab:,} tokens, from both corpora alike")
    return train_byte_level((text for corpus in corpora for text in texts(corpus)), vocab_size=vocab, or_fewer=True)


def _train(folder: Path, tokens: int, seed: int, model: str, display: Display) -> RunResult:
    """A run of equal shape whatever the corpus: the modern recipe for so many tokens, however often that repeats it."""
    data = folder / "data"
    facts = json.loads((data / "data.json").read_text(encoding="utf-8"))
    chosen = replace(preset(model), vocab=facts["vocab"])
    if facts["train_tokens"] < chosen.context:
        raise ValueError(
            f"a corpus of {facts['train_tokens']:,} tokens is smaller than one context of {chosen.context}."
        )
    rows = max(1, min(BATCH_TOKENS, tokens // FEWEST_STEPS) // chosen.context)
    steps = max(1, round(tokens / (rows * chosen.context)))
    config = RECIPES["modern"].train(chosen, facts["train_tokens"], steps)
    config = replace(
        config,
        batch=replace(config.batch, start=rows, end=rows),
        micro_batch=rows,
        seed=seed,
        data="../data",
        evaluate_every=0,
        save_every=0,
        sample_every=0,
        keep_best=False,
        final_tokens=16_384,
    )
    run = RunFolder.create(folder / f"run-{seed}")
    with run.locked():
        return start_run(run, config, display=display)


def _scores(result: RunResult, pieces: Sequence[str]) -> list[float]:
    """Bits of each piece, whose tokens are read in windows of the context, each window after the token before it."""
    lm = result.lm
    window = lm.config.context
    pairs: list[tuple[list[int], list[int]]] = []
    owners: list[int] = []
    for owner, piece in enumerate(pieces):
        tokens = [lm.tokenizer.end, *lm.tokenizer.encode(piece)]
        starts = range(1, len(tokens), window)
        pairs.extend(([tokens[start - 1]], tokens[start : start + window]) for start in starts)
        owners.extend(owner for _ in starts)
    bits = [0.0] * len(pieces)
    for owner, nats in zip(owners, loglikelihoods(lm.model, pairs), strict=True):
        bits[owner] -= nats / math.log(2)
    return bits


def _compare(first: np.ndarray, second: np.ndarray, sizes: np.ndarray, tokens: int) -> Comparison:
    """From (S, D) bits of D pieces under S seeds, and their (D,) bytes."""
    mean_first, mean_second = first.mean(0), second.mean(0)
    chance = np.random.default_rng(seed_for(0, "bootstrap"))
    picks = chance.integers(0, len(sizes), (RESAMPLES, len(sizes)))  # (R, D)
    drawn = (mean_second - mean_first)[picks].sum(1) / sizes[picks].sum(1)
    low, high = np.percentile(drawn, INTERVAL)
    return Comparison(
        first=float(mean_first.sum() / sizes.sum()),
        second=float(mean_second.sum() / sizes.sum()),
        difference=float((mean_second - mean_first).sum() / sizes.sum()),
        low=float(low),
        high=float(high),
        by_seed=tuple(float(value) for value in (second - first).sum(1) / sizes.sum()),
        tokens=tokens,
        pieces=len(sizes),
        bytes=int(sizes.sum()),
    )


def _draw(first: np.ndarray, second: np.ndarray, comparison: Comparison, target: Path) -> None:
    """Each piece of held-out text as a point, bits per byte under either model."""
    ends = [min(first.min(), second.min()), max(first.max(), second.max())]
    title = f"{comparison.difference:+.4f} bits per byte [{comparison.low:+.4f}, {comparison.high:+.4f}]"
    with picture(target, size=(5.5, 5.5)) as [[axes]]:
        axes.scatter(first, second, s=8, alpha=0.5, color=BLUE, linewidths=0)
        axes.plot(ends, ends, color=RED, linewidth=1)
        axes.set(xlabel="trained on the first: bits per byte", ylabel="trained on the second", title=title)
        axes.grid(alpha=0.25)
