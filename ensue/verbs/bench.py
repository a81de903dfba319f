"""Verbs that measure this machine."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from tyro.conf import Positional, subcommand


@dataclass(frozen=True)
class BenchTrain:
    """Time one training step here, beside the machine's own matrix products, and show where the rest of it goes.

    Each part of the step falls short of the products' rate by its own share; the shares are drawn as a waterfall.

      ensue bench train gpt2-mini
      ensue bench train gpt2 --rows 2 --steps 5 --json
    """

    preset: Positional[str] = "gpt2-mini"
    """A model by name (see `ensue info`)."""
    rows: int = 16
    """Sequences of the model's whole context in a step."""
    steps: int = 10
    """Steps to time, of which the median counts."""
    optimizer: Literal["adamw", "muon"] = "adamw"
    """What steps the weights."""
    device: str = "auto"
    """auto, cpu or cuda."""
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    """Of the matrix products."""
    compile: Literal["auto", "on", "off"] = "auto"
    """torch.compile: auto compiles on a GPU."""
    json: bool = False
    """Print JSON for a program to read."""

    def start(self) -> None:
        from ensue.model.presets import preset
        from ensue.recipes.bench_train import bench_train, show_speed, speed_as_json
        from ensue.recipes.display import Display

        speed = bench_train(
            preset(self.preset),
            rows=self.rows,
            steps=self.steps,
            device_name=self.device,
            precision_name=self.precision,
            optimizer=self.optimizer,
            compile_mode=self.compile,
            display=Display(to_stderr=True),
        )
        if self.json:
            print(speed_as_json(speed))
        else:
            show_speed(speed, Display())


@dataclass(frozen=True)
class BenchTokenize:
    """Time a tokenizer, in bulk and one document at a time.

    Megabytes are of UTF-8; the figures are medians of three passes over the same documents.

      ensue bench tokenize
      ensue bench tokenize books/ --tokenizer tokenizers/books --json
    """

    text: Positional[Path | None] = None
    """A file or a folder; the documentation inside this Python installation unless said."""
    tokenizer: Path | None = None
    """A tokenizer's folder; a new one is trained unless said."""
    megabytes: float = 8.0
    """How much of the text to cut."""
    json: bool = False
    """Print JSON for a program to read."""

    def start(self) -> None:
        from ensue.recipes.bench_tokenize import bench_tokenize, show_tokenizing
        from ensue.recipes.display import Display

        display = Display(to_stderr=True)
        speed = bench_tokenize(self.text, tokenizer_path=self.tokenizer, megabytes=self.megabytes, display=display)
        print(show_tokenizing(speed, as_json=self.json))


@dataclass(frozen=True)
class BenchGenerate:
    """Time how a model writes here, beside the memory's own speed, and show where the rest of the time goes.

    The weights are random: the speed depends on the shape alone.

      ensue bench generate gpt2
      ensue bench generate gpt2 --precision int8 --requests 16 --json
    """

    preset: Positional[str] = "gpt2"
    """A model by name (see `ensue info`)."""
    precision: Literal["fp32", "bf16", "int8", "int4"] = "bf16"
    """Of the weights."""
    prompt: int = 64
    """Tokens of each prompt."""
    new: int = 64
    """Tokens to write after each."""
    requests: int = 1
    """So many at once, beside one alone."""
    rounds: int = 5
    """Readings, of which the median counts."""
    json: bool = False
    """Print JSON for a program to read."""

    def start(self) -> None:
        from ensue.model.presets import preset
        from ensue.recipes.bench_generate import bench_generate, show_writing, writing_as_json
        from ensue.recipes.display import Display

        speed = bench_generate(
            preset(self.preset),
            precision=self.precision,
            prompt=self.prompt,
            new=self.new,
            requests=self.requests,
            rounds=self.rounds,
            display=Display(to_stderr=True),
        )
        if self.json:
            print(writing_as_json(speed))
        else:
            show_writing(speed, Display())


@dataclass(frozen=True)
class Bench:
    """Measure what this machine does, and where the time goes.

    Each action shows its options: ensue bench train --help

      ensue bench train gpt2-mini
      ensue bench generate gpt2
      ensue bench tokenize books/
    """

    action: (
        Annotated[BenchTrain, subcommand("train", prefix_name=False)]
        | Annotated[BenchGenerate, subcommand("generate", prefix_name=False)]
        | Annotated[BenchTokenize, subcommand("tokenize", prefix_name=False)]
    )

    def start(self) -> None:
        self.action.start()
