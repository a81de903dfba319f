"""Training a tokenizer on its own, and looking at how one cuts a text."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path

from ensue.core.files import folder_aside
from ensue.recipes.data import refuse_existing
from ensue.recipes.display import Display
from ensue.text.find import find_files
from ensue.text.read import read_documents
from ensue.text.skips import SkipReport
from ensue.tokens.byte_level import train_byte_level
from ensue.tokens.tokenizer import load_tokenizer


def train_tokenizer(texts: Sequence[Path], out: Path, *, vocab: int, display: Display) -> None:
    """Train byte-level BPE on files and folders and write it to `out`."""
    refuse_existing(out)
    skipped = SkipReport()
    total = sum(path.stat().st_size for path in find_files(texts))
    with display.bar(f"training a tokenizer of {vocab:,}", total, "bytes") as bar:

        def lines() -> Iterator[str]:
            for document in read_documents(texts, skipped=skipped, on_bytes=bar.advance):
                yield document.text

        tokenizer = train_byte_level(lines(), vocab_size=vocab)
    if skipped.count:
        display.say(skipped.summary())
    with folder_aside(out) as aside:
        tokenizer.save(aside)
    display.say(f"{tokenizer.vocab_size:,} tokens in {out}\nnext: ensue prepare TEXT --out DATA --tokenizer {out}")


def show_tokens(path: Path, text: str, *, as_json: bool) -> str:
    """Each token of `text` and its id, by the tokenizer at `path` (a tokenizer's folder, a run, or a model)."""
    run_tokenizer = path / "final"
    tokenizer = load_tokenizer(run_tokenizer if run_tokenizer.is_dir() else path)
    ids = tokenizer.encode(text)
    pieces = [tokenizer.decode([token]) for token in ids]
    if as_json:
        return json.dumps({"ids": ids, "tokens": pieces, "vocab": tokenizer.vocab_size}, ensure_ascii=False)
    rows = [f"{token:>7}  {piece!r}" for token, piece in zip(ids, pieces, strict=True)]
    size = len(text.encode())
    return "\n".join([*rows, f"{len(ids)} tokens for {size} bytes ({size / max(1, len(ids)):.2f} bytes a token)"])
