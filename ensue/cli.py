"""The command line: each verb is a small dataclass whose `run` hands over to a recipe."""

from __future__ import annotations

import difflib
import os
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
from ensue.corpus_verbs import Corpus, Curate
from ensue.evaluate_verbs import Compare, Evaluate, Probe
from ensue.recipes.failure import RunFailed
from ensue.recipes.studies.verb import FinetuneAblation
from ensue.serve_verbs import Chat, Serve
from ensue.studio_verbs import Studio
from ensue.task_verbs import Finetune

Recipe = Literal["auto", "gpt", "bert", "gpt2", "gpt3", "modern"]


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
    """Files or folders of text, or one folder made by `ensue prepare`, `ensue curate` or `ensue corpus mix`."""
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
    seed: int | None = None
    """Decides the weights, the order of the text, and what is held out; 0 unless said."""
    vocab: int | None = None
    """Size of the tokenizer to train."""
    tokenizer: Path | None = None
    """Use this tokenizer's folder instead of training one."""
    resume: Path | None = None
    """Continue this run from its newest whole checkpoint."""
    changed: bool = False
    """Continue even though fields of the config, or the data, are not what the run was trained with."""

    def start(self, changes: dict[str, str]) -> None:
        from ensue.recipes.following import crew

        with crew() as leads:
            if leads:
                self._lead(changes)

    def _lead(self, changes: dict[str, str]) -> None:
        from ensue.recipes.display import Display
        from ensue.recipes.start import resume, start

        if self.resume is not None:
            resume(
                self.resume,
                changes=self._changes_to_a_run(changes),
                texts=self.text,
                tokenizer=self.tokenizer,
                allowed=self.changed,
                display=Display(),
            )
            return
        if self.changed:
            raise ValueError("--changed goes with --resume, for a run that is to go on with other settings.")
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
            seed=self.seed or 0,
            vocab=self.vocab,
            tokenizer=self.tokenizer,
            changes=changes,
            display=Display(),
        )

    def _changes_to_a_run(self, changes: dict[str, str]) -> dict[str, str]:
        """The fields to set in a run that is continued, of those that have an option of their own as well."""
        others = (self.run, self.preset, self.vocab)
        if any(other is not None for other in others) or self.recipe != "auto":
            raise ValueError(
                "--resume continues a run in its folder, with its model and tokenizer; give nothing else but fields to "
                "change, or a folder of prepared data: ensue train --resume RUN"
            )
        given = {"schedule.steps": self.steps, "minutes": self.minutes, "seed": self.seed}
        return {**changes, **{name: str(value) for name, value in given.items() if value is not None}}


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
    dtype: Literal["fp32", "bf16", "int8"] = "fp32"
    """Precision of the weights; bf16 and int8 are several times as fast on a CPU that has both."""
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
class Plan:
    """What training a preset takes, before anything runs: memory on each GPU by kind, FLOPs, time, what fits.

    Pure arithmetic: no GPU is needed to ask.

      ensue plan gpt3-175b --gpus 1024 --memory 80
      ensue plan gpt2-xl --gpus 8 --memory 24 --tokens 30e9 --flops-per-gpu 71e12
    """

    preset: Positional[str]
    """A model by name (see `ensue info`)."""
    gpus: int = 1
    """GPUs, one process each."""
    memory: float = 80.0
    """GB of each."""
    tokens: float | None = None
    """Tokens to train on; GPT-3's 300 billion for its sizes, 20 a parameter for others."""
    batch: int | None = None
    """Sequences a step; the recipe's own unless said."""
    flops_per_gpu: float = 989e12
    """Peak FLOPs a second of one GPU; an H100's or H200's in bf16 unless said."""
    mfu: float = 0.4
    """Share of the peak that a step reaches."""
    gpus_per_node: int = 8
    """GPUs of one machine, with fast links among them."""
    precision: Literal["bf16", "fp32"] = "bf16"
    """Of the matrix products; master weights are fp32 in both."""
    json: bool = False
    """Print JSON for a program to read."""

    def start(self) -> None:
        from ensue.recipes.display import Display
        from ensue.recipes.plan import ask, make_plan
        from ensue.recipes.plan_report import plan_as_json, show_plan

        question = ask(
            self.preset,
            gpus=self.gpus,
            memory_gb=self.memory,
            tokens=self.tokens,
            batch=self.batch,
            precision=self.precision,
            gpus_per_node=self.gpus_per_node,
            flops=self.flops_per_gpu,
            utilisation=self.mfu,
        )
        plan = make_plan(question)
        if self.json:
            print(plan_as_json(plan))
        else:
            show_plan(plan, Display())


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
class Verify:
    """Train steps of a run once more and compare: bit-identical, or the first step and tensor that differ.

    It starts from the newest checkpoint at or before the first step, and changes nothing in the run. The exit code is 1
    where there is a difference.

      ensue verify runs/books --steps 400:450
    """

    run: Positional[Path]
    """The run."""
    steps: str
    """FROM:TO replays the steps after FROM up to TO."""
    json: bool = False
    """Print JSON for a program to read."""

    def start(self) -> None:
        from ensue.recipes.following import crew

        with crew() as leads:
            if leads:
                self._lead()

    def _lead(self) -> None:
        from ensue.core.run import RunFolder
        from ensue.recipes.display import Display
        from ensue.recipes.verify import verify
        from ensue.recipes.verify_report import describe

        first, colon, last = self.steps.partition(":")
        if not (colon and first.isdecimal() and last.isdecimal()):
            raise ValueError(f"--steps {self.steps} is no window; give it as FROM:TO, such as --steps 400:450.")
        run = RunFolder.open(self.run)
        verdict = verify(run, int(first), int(last), display=Display(to_stderr=True))
        print(describe(verdict, as_json=self.json))
        if verdict.difference is not None:
            raise SystemExit(1)


@dataclass(frozen=True)
class Why:
    """List the documents that a step of a run was trained on, with their sources; of a tuning, the rows.

    ensue why runs/books --step 412
    """

    run: Positional[Path]
    """The run."""
    step: int
    """The step, counted from 1 as metrics.jsonl does."""
    json: bool = False
    """Print JSON for a program to read."""

    def start(self) -> None:
        from ensue.core.run import RunFolder
        from ensue.recipes.finetuning.why import is_tuning, show_rows
        from ensue.recipes.why import show_documents

        run = RunFolder.open(self.run)
        show = show_rows if is_tuning(run) else show_documents
        print(show(run, self.step, as_json=self.json))


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
    precision: Literal["fp32", "bf16", "int8"] = "bf16"
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


@dataclass(frozen=True)
class Study:
    """Repeat a paper's experiment at a small size, with seeds and intervals.

    Each study shows its options: ensue study finetune-ablation --help

      ensue study finetune-ablation books/ --sets-in tasks/ --out studies/ablation
    """

    action: Annotated[FinetuneAblation, subcommand("finetune-ablation", prefix_name=False)]

    def start(self) -> None:
        self.action.start()


VERBS: dict[str, type[Any]] = {
    "demo": Demo,
    "curate": Curate,
    "corpus": Corpus,
    "prepare": Prepare,
    "tokenizer": Tokenizer,
    "train": Train,
    "generate": Generate,
    "chat": Chat,
    "serve": Serve,
    "studio": Studio,
    "finetune": Finetune,
    "evaluate": Evaluate,
    "compare": Compare,
    "probe": Probe,
    "study": Study,
    "info": Info,
    "bench": Bench,
    "plan": Plan,
    "convert": Convert,
    "verify": Verify,
    "why": Why,
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one verb and return its exit code.

    0 done; 1 a run that does not verify; 2 a mistake in what was asked; 3 training diverged; 4 could not save; 5 lost
    another process of the run; 130 and 143 stopped by Ctrl-C and SIGTERM.
    """
    try:
        code = _run(list(sys.argv[1:] if arguments is None else arguments), own_process=arguments is None)
        sys.stdout.flush()
    except BrokenPipeError:  # whoever reads what is printed, such as `head`, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 128 + signal.SIGPIPE
    if arguments is None and int(os.environ.get("WORLD_SIZE", "1")) > 1:
        # A thread of gloo's that lets go of a tensor while the interpreter closes down would abort the process.
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    return code


def _run(given: list[str], *, own_process: bool) -> int:
    if given[:1] == ["--"]:  # torchrun needs it before our options, or it takes --run for its own, and passes it on
        del given[0]
    if own_process:
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
    except BrokenPipeError:
        raise
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
    action = verb.action if isinstance(verb, (Tokenizer, Bench, Corpus, Study)) else verb
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
