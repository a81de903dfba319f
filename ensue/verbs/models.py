"""Verbs of finished models: writing, size and shape, other layouts."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from tyro.conf import Positional


@dataclass(frozen=True)
class Generate:
    """Let a model continue a text.

    PATH is a run, a checkpoint, a Hugging Face folder, or a Hub name.

      ensue generate runs/demo --prompt "Return the" --temperature 0.8 --top-k 50
      ensue generate openai-community/gpt2 --prompt "Once upon a time" --beams 4
    """

    path: Positional[str]
    """The model."""
    prompt: str = ""
    """The text to continue; - reads it from standard input; empty starts a new document."""
    max_new_tokens: int = 100
    """Tokens to write at most."""
    temperature: float = 0.0
    """0 takes the likeliest token each time; 1 samples what the model says."""
    top_k: int | None = None
    """Sample from the K likeliest tokens only."""
    top_p: float | None = None
    """Sample from the likeliest tokens that together reach this probability."""
    repetition_penalty: float = 1.0
    """Above 1 makes tokens already written less likely."""
    no_repeat_ngram: int = 0
    """Never write the same N tokens in a row twice."""
    beams: int = 1
    """Beam search of this width, with GPT-3's length penalty of 0.6 (the paper's width is 4)."""
    stop: tuple[str, ...] = ()
    """Stop before any of these strings."""
    seed: int = 0
    """The same seed gives the same text."""
    truncate: bool = False
    """Keep only the end of a prompt that is longer than the context."""
    device: str = "auto"
    """auto, cpu or cuda."""
    dtype: Literal["fp32", "bf16", "int8", "int4"] = "fp32"
    """Precision of the weights; the others are several times as fast on a CPU with AVX-512."""
    json: bool = False
    """Print JSON for a program to read."""

    def start(self) -> None:
        from ensue.generate.settings import Sampling
        from ensue.recipes.writing import open_writer, write_text

        sampling = Sampling(
            self.temperature, self.top_k, self.top_p, self.repetition_penalty, self.no_repeat_ngram, self.seed
        )
        lm, packed = open_writer(self.path, device=self.device, dtype=self.dtype)
        write_text(
            lm,
            sys.stdin.read() if self.prompt == "-" else self.prompt,
            packed=packed,
            sampling=sampling,
            max_new_tokens=self.max_new_tokens,
            beams=self.beams,
            stop=self.stop,
            truncate=self.truncate,
            as_json=self.json,
        )


@dataclass(frozen=True)
class Info:
    """Size and shape of a model or a preset, or what a mixture is made of; without a name, the table of presets.

    No weights are read.

      ensue info gpt3-175b
      ensue info runs/demo --json
    """

    path: Positional[str | None] = None
    """A run, a checkpoint, a Hugging Face folder, a preset's name, or a mixture."""
    json: bool = False
    """Print JSON for a program to read."""

    def start(self) -> None:
        from ensue.recipes.information import show_all, show_one

        print(show_one(self.path, as_json=self.json) if self.path is not None else show_all(as_json=self.json))


@dataclass(frozen=True)
class Convert:
    """Rewrite a model in another layout: Hugging Face's or the original GPT release's.

    A checkpoint of Ensue is a Hugging Face folder already wherever transformers has that architecture.

      ensue convert gpt-release/ models/gpt
      ensue convert models/gpt gpt-release-again/ --to original-gpt
    """

    source: Positional[str]
    """A run, a checkpoint, a Hugging Face folder, a Hub name, or a folder with params_0.npy and so on."""
    target: Positional[Path]
    """Folder to write; it must not exist."""
    to: Literal["huggingface", "original-gpt"] = "huggingface"
    """The layout to write."""
    dtype: Literal["fp32", "bf16"] = "fp32"
    """Precision of the weights written (Hugging Face layout)."""

    def start(self) -> None:
        from ensue.recipes.convert import convert

        print(convert(self.source, self.target, to=self.to, dtype=self.dtype))
