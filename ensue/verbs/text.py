"""Verbs of text: data folders and tokenizers."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from tyro.conf import Positional, subcommand


@dataclass(frozen=True)
class Prepare:
    """Turn files and folders of text into token shards that `ensue train` reads.

    Reads .txt .md .jsonl .parquet, each also as .gz or .zst; says what it skipped and why.

      ensue prepare books/ articles.jsonl.gz --out data/mine --vocab 8192
    """

    text: Positional[tuple[Path, ...]]
    """Files or folders."""
    out: Path
    """Folder to write; it must not exist."""
    vocab: int | None = None
    """Size of the tokenizer to train; chosen by the size of the text unless said."""
    tokenizer: Path | None = None
    """Use this tokenizer's folder instead of training one."""
    seed: int = 0
    """Decides which documents are held out."""

    def start(self) -> None:
        from ensue.recipes.data import prepare_files
        from ensue.recipes.display import Display
        from ensue.tokens.tokenizer import load_tokenizer

        if self.vocab is not None and self.tokenizer is not None:
            raise ValueError("--vocab trains a tokenizer and --tokenizer takes one; give only one of the two.")
        display = Display()
        data = prepare_files(
            self.text,
            self.out,
            vocab=self.vocab,
            tokenizer=load_tokenizer(self.tokenizer) if self.tokenizer else None,
            seed=self.seed,
            display=display,
        )
        facts = data.facts
        display.say(
            f"{facts.documents:,} documents, {facts.bytes / 1e6:,.1f} MB -> {facts.train_tokens:,} training tokens and "
            f"{facts.held_out_tokens:,} held out, in {self.out}\n"
            f"next: ensue train {self.out} --run runs/mine --minutes 10"
        )


@dataclass(frozen=True)
class TokenizerTrain:
    """Train a byte-level BPE tokenizer on files and folders of text.

    `ensue prepare` and `ensue train` take its folder as --tokenizer.

      ensue tokenizer train books/ --out tokenizers/books --vocab 8192
    """

    text: Positional[tuple[Path, ...]]
    """Files or folders."""
    out: Path
    """Folder to write."""
    vocab: int = 8192
    """Vocabulary: 256 bytes, the merges, and <|endoftext|>."""

    def start(self) -> None:
        from ensue.recipes.display import Display
        from ensue.recipes.tokenizers import train_tokenizer

        train_tokenizer(self.text, self.out, vocab=self.vocab, display=Display())


@dataclass(frozen=True)
class TokenizerShow:
    """Show how a tokenizer cuts a text: each token and its id.

    PATH is a tokenizer's folder, or any model with its tokenizer.

      ensue tokenizer show runs/demo --text "To be, or not to be" --json
    """

    path: Positional[Path]
    """A tokenizer's folder, a run, a checkpoint or a Hugging Face folder."""
    text: str
    """What to cut."""
    json: bool = False
    """Print JSON for a program to read."""

    def start(self) -> None:
        from ensue.recipes.tokenizers import show_tokens

        print(show_tokens(self.path, self.text, as_json=self.json))


@dataclass(frozen=True)
class Tokenizer:
    """Train a tokenizer, or see how one cuts a text.

    Each action shows its options: ensue tokenizer train --help

      ensue tokenizer train books/ --out tokenizers/books --vocab 8192
      ensue tokenizer show runs/demo --text "To be, or not to be"
    """

    action: (
        Annotated[TokenizerTrain, subcommand("train", prefix_name=False)]
        | Annotated[TokenizerShow, subcommand("show", prefix_name=False)]
    )

    def start(self) -> None:
        self.action.start()
