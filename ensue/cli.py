"""The command line: each verb is a small dataclass whose `run` hands over to a recipe."""

from __future__ import annotations

import difflib
import signal
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from types import FrameType
from typing import Annotated, Any, Literal

import tyro
from tyro.conf import Positional, subcommand

from ensue import __version__
from ensue.core.config import suggest
from ensue.recipes.failure import RunFailed

Recipe = Literal["auto", "gpt", "gpt2", "gpt3", "modern"]


@dataclass(frozen=True)
class Demo:
    """Train a small GPT on real text in a few minutes, and let it write.

    The text is the documentation inside this Python installation, or your own:

      ensue demo
      ensue demo --text books/ --minutes 5 --run runs/books
    """

    minutes: float = 3.0
    """Minutes of training."""
    run: Path = Path("runs/demo")
    """Folder to write the run to; an earlier demo there is replaced."""
    text: Path | None = None
    """Your own text: a file or a folder."""
    seed: int = 0
    """Another seed gives another model."""

    def start(self) -> None:
        from ensue.recipes.demo import run_demo
        from ensue.recipes.display import Display

        run_demo(self.run, minutes=self.minutes, text=self.text, seed=self.seed, display=Display())


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
class Train:
    """Train a GPT on text or prepared data, or continue a run exactly where it stopped.

    With --minutes, size, batch, learning rate and length are chosen for this text on this machine, and explained.
    Any field of the run's config.json can be set by its name:

      ensue train books/ --run runs/books --minutes 30
      ensue train data/mine --run runs/small --recipe gpt2 --steps 2000 --layers 4 --width 256 --heads 4
      ensue train --resume runs/books
    """

    text: Positional[tuple[Path, ...]] = ()
    """Files or folders of text, or one folder made by `ensue prepare`."""
    run: Path | None = None
    """Folder to write the run to; it must not exist."""
    recipe: Recipe = "auto"
    """Whose settings: a paper's (gpt, gpt2, gpt3), today's (modern), or the best for these minutes (auto)."""
    preset: str | None = None
    """A model by name (see `ensue info`); the recipe's smallest unless said."""
    minutes: float | None = None
    """Time for the whole command; picks everything that is not said."""
    steps: int | None = None
    """Optimizer steps, instead of minutes."""
    seed: int = 0
    """Decides the weights, the order of the text, and what is held out."""
    vocab: int | None = None
    """Size of the tokenizer to train."""
    tokenizer: Path | None = None
    """Use this tokenizer's folder instead of training one."""
    resume: Path | None = None
    """Continue this run from its newest checkpoint."""

    def start(self, changes: dict[str, str]) -> None:
        from ensue.recipes.display import Display
        from ensue.recipes.start import resume, start

        if self.resume is not None:
            if self.text or self.run or changes:
                raise ValueError("--resume continues a run as it is; give nothing else: ensue train --resume RUN")
            resume(self.resume, display=Display())
            return
        _refuse_misspelt(changes)
        if not self.text:
            raise ValueError("say what to train on: ensue train TEXT --run runs/mine --minutes 10")
        if self.run is None:
            raise ValueError("say where to write the run: ensue train TEXT --run runs/mine --minutes 10")
        start(
            self.text,
            self.run,
            recipe=self.recipe,
            preset_name=self.preset,
            minutes=self.minutes,
            steps=self.steps,
            seed=self.seed,
            vocab=self.vocab,
            tokenizer=self.tokenizer,
            changes=changes,
            display=Display(),
        )


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
    dtype: Literal["fp32", "bf16"] = "fp32"
    """Precision of the weights."""
    json: bool = False
    """Print JSON for a program to read."""

    def start(self) -> None:
        from ensue.generate.load import load
        from ensue.generate.settings import Sampling
        from ensue.recipes.writing import write_text

        sampling = Sampling(
            self.temperature, self.top_k, self.top_p, self.repetition_penalty, self.no_repeat_ngram, self.seed
        )
        write_text(
            load(self.path, device=self.device, dtype=self.dtype),
            sys.stdin.read() if self.prompt == "-" else self.prompt,
            sampling=sampling,
            max_new_tokens=self.max_new_tokens,
            beams=self.beams,
            stop=self.stop,
            truncate=self.truncate,
            as_json=self.json,
        )


@dataclass(frozen=True)
class Info:
    """Size and shape of a model or a preset; without a name, the table of presets.

    No weights are read.

      ensue info gpt3-175b
      ensue info runs/demo --json
    """

    path: Positional[str | None] = None
    """A run, a checkpoint, a Hugging Face folder, or a preset's name."""
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


VERBS: dict[str, type[Any]] = {
    "demo": Demo,
    "prepare": Prepare,
    "tokenizer": Tokenizer,
    "train": Train,
    "generate": Generate,
    "info": Info,
    "convert": Convert,
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one verb and return its exit code.

    0 done; 2 a mistake in what was asked; 3 training diverged; 4 could not save; 130 and 143 stopped by Ctrl-C and
    SIGTERM.
    """
    given = list(sys.argv[1:] if arguments is None else arguments)
    if arguments is None:
        signal.signal(signal.SIGTERM, _leave)  # so that what is being written aside is cleaned up
    if not given or given[0] in ("-h", "--help", "help"):
        print(overview())
        return 0
    if given[0] in ("--version", "version"):
        print(f"ensue {__version__}")
        return 0
    name = given[0]
    if name not in VERBS:
        return _complain(f"there is no verb {name!r}{suggest(name, VERBS)}\nSee: ensue --help", 2)
    verb, unknown = tyro.cli(
        VERBS[name], prog=f"ensue {name}", args=given[1:], return_unknown_args=True, config=(tyro.conf.OmitArgPrefixes,)
    )
    try:
        if isinstance(verb, Train):
            verb.start(_changes(unknown))
        else:
            _refuse(unknown, verb)
            verb.start()
    except RunFailed as error:
        return _complain(str(error), error.code)
    except KeyboardInterrupt:
        return _complain("interrupted.", 130)
    except (ValueError, FileNotFoundError, NotADirectoryError, PermissionError) as error:
        return _complain(str(error), 2)
    except OSError as error:
        return _complain(f"{error}. Free some space or choose another folder, and try again.", 4)
    return 0


def overview() -> str:
    """What `ensue --help` prints: each verb with the first line of its help."""
    lines = [f"  {name:<10} {str(verb.__doc__).splitlines()[0]}" for name, verb in VERBS.items()]
    return "\n".join(
        [
            "Ensue: GPT, GPT-2 and GPT-3 from your own text.",
            "",
            "usage: ensue VERB [options]",
            "",
            *lines,
            "",
            "Start with:  ensue demo",
            "Each verb shows its options and an example:  ensue VERB --help",
        ]
    )


def _changes(unknown: Sequence[str]) -> dict[str, str]:
    """`--model.layers 6 --width=256` as a mapping from field to text."""
    changes = {}
    rest = list(unknown)
    while rest:
        word = rest.pop(0)
        if not word.startswith("--"):
            raise ValueError(f"do not know what to do with {word!r}; options are written --name value.")
        name, equals, value = word[2:].partition("=")
        if not equals:
            if not rest or rest[0].startswith("--"):
                raise ValueError(f"{word} needs a value: {word} VALUE")
            value = rest.pop(0)
        changes[name] = value
    return changes


def _refuse_misspelt(changes: Iterable[str]) -> None:
    """Raise ValueError for a name that is no field of a run but nearly an option of `ensue train`."""
    from ensue.recipes.run_config import is_field

    own = [field.name for field in fields(Train)]
    for name in changes:
        close = difflib.get_close_matches(name, own, n=1)
        if close and not is_field(name):
            raise ValueError(f"there is no option --{name}; did you mean '--{close[0]}'?")


def _refuse(unknown: Sequence[str], verb: Any) -> None:
    """Raise ValueError for options a verb does not have, naming the nearest one."""
    if not unknown:
        return
    action = verb.action if isinstance(verb, Tokenizer) else verb
    word = unknown[0]
    if not word.startswith("-"):
        raise ValueError(f"do not know what to do with {word!r}; see: ensue {type(verb).__name__.lower()} --help")
    known = ["--" + field.name.replace("_", "-") for field in fields(action)]
    raise ValueError(f"there is no option {word}{suggest(word, known)}")


def _leave(number: int, _frame: FrameType | None) -> None:
    raise SystemExit(128 + number)


def _complain(message: str, code: int) -> int:
    print(f"ensue: {message}", file=sys.stderr)
    return code


if __name__ == "__main__":
    sys.exit(main())
