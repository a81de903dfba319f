"""The verbs of corpora: `ensue curate`, and what is asked of a corpus under `ensue corpus`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from tyro.conf import Positional, subcommand


@dataclass(frozen=True)
class Curate:
    """Turn raw pages and files into a corpus, with every document's fate written down.

    Reads web archives (WARC, WET), HTML, EPUB, DOCX, PDF, .txt .md .jsonl .parquet, from this disk or a URL that fsspec
    knows (s3://...). Give the same command again after it was stopped, and it goes on.

      ensue curate pages/ --recipe own --out corpora/mine
      ensue curate crawl=warc/ webtext=links/ --recipe gpt3 --reference books/ --against tests/ --out corpora/web
      ensue curate pages/ --recipe mine.py --out corpora/mine
    """

    sources: Positional[tuple[str, ...]]
    """Files, folders or URLs, each with a name for its collection if wanted: NAME=PATH."""
    out: str
    """Folder or URL to write; it must not exist, unless it was begun by the same command."""
    recipe: str = "own"
    """Which steps: own (your text), webtext (GPT-2), gpt3 (its filtered crawl), books, or FILE.py with a list steps."""
    language: tuple[str, ...] = ()
    """Keep documents in these languages, such as en or zh."""
    links: Path | None = None
    """WebText's list of links: .jsonl, .csv or .parquet with url, score and date."""
    reference: tuple[Path, ...] = ()
    """Good text, for the quality classifier to tell from the rest."""
    judged: tuple[str, ...] = ()
    """Collections that the classifier judges; all unless said."""
    alpha: float = 9.0
    """Of the draw by which it keeps what it scores low; GPT-3's is 9, and less keeps more."""
    against: tuple[Path, ...] = ()
    """Evaluation files whose text must not be in the corpus."""
    prefer: tuple[str, ...] = ()
    """Collections whose copy of a duplicate is kept, first to last."""
    personal: bool = False
    """Mask mail addresses, phone numbers and keys."""
    tokens: bool = True
    """Train a tokenizer and write token shards too, so that `ensue train OUT` can begin."""
    vocab: int | None = None
    """Size of the tokenizer to train; chosen by the size of the corpus unless said."""
    tokenizer: Path | None = None
    """Use this tokenizer's folder instead of training one."""
    engine: Literal["local", "ray"] = "local"
    """Processes on this machine, or a Ray cluster."""
    workers: int | None = None
    """How many; as many as there are cores unless said."""
    max_memory: str = "2G"
    """What all processes together may take on this machine."""
    address: str | None = None
    """Of the Ray cluster, or auto."""
    weights: tuple[str, ...] = ()
    """Mix the collections by NAME=WEIGHT each, whatever their sizes; see ensue corpus mix --help."""
    seed: int = 0
    """Of the quality filter's draws, and of what is held out."""
    dry_run: bool = False
    """Only show the steps and their settings."""

    def start(self) -> None:
        from ensue.recipes.corpora.curating import run_curation, show_steps
        from ensue.recipes.corpora.recipes import Choices, steps_of
        from ensue.recipes.corpora.tokens import check_weights, folder_of, write_tokens
        from ensue.recipes.display import Display

        display = Display()
        if not self.sources:
            raise ValueError("say what to curate: ensue curate pages/ --out corpora/mine")
        if self.tokens:
            folder_of(self.out)
            check_weights(self.weights, self.sources)
        choices = Choices(
            languages=self.language,
            links=self.links,
            reference=self.reference,
            judged=self.judged,
            alpha=self.alpha,
            against=self.against,
            prefer=self.prefer,
            personal=self.personal,
            seed=self.seed,
        )
        steps = steps_of(self.recipe, choices)
        if self.vocab is not None and self.tokenizer is not None:
            raise ValueError("--vocab trains a tokenizer and --tokenizer takes one; give only one of the two.")
        show_steps(steps, display)
        if self.dry_run:
            return
        run_curation(
            self.sources,
            steps,
            self.out,
            engine=self.engine,
            workers=self.workers,
            max_memory=self.max_memory,
            address=self.address,
            tokens=self.tokens,
            display=display,
        )
        data = Path(self.out)
        if self.tokens:
            data = write_tokens(
                self.out,
                vocab=self.vocab,
                tokenizer=self.tokenizer,
                weights=self.weights,
                seed=self.seed,
                display=display,
            )
        display.say(f"report   {self.out}/report.html\na story  ensue corpus why ID --corpus {self.out}")
        if self.tokens:
            display.say(f"next     ensue train {data} --run runs/mine --minutes 10")


@dataclass(frozen=True)
class CorpusWhy:
    """Tell one document's story: where it was read, what each step said, and where its tokens are.

    ID is a document's id, its first digits, or its source; the report shows them.

      ensue corpus why 3fa94c01 --corpus corpora/web --run runs/mine
    """

    id: Positional[str]
    """An id, the first six digits of one or more, or a source such as pages/a.html."""
    corpus: str
    """The corpus it was read for."""
    run: Path | None = None
    """A run, to see which of its steps read the document."""
    json: bool = False
    """Print JSON for a program to read."""

    def start(self) -> None:
        from ensue.recipes.corpora.why import tell_story

        print(tell_story(self.corpus, self.id, run=self.run, as_json=self.json))


@dataclass(frozen=True)
class CorpusReport:
    """Write a corpus' report again: one page with pictures, numbers and samples of what was kept and dropped.

    ensue corpus report corpora/web
    """

    corpus: Positional[str]
    """A finished corpus."""

    def start(self) -> None:
        from ensue.recipes.corpora.report import write_report
        from ensue.text.curation.store import Store

        print(f"{self.corpus}/{write_report(Store(self.corpus))}")


@dataclass(frozen=True)
class CorpusCompare:
    """Train the same small model on two corpora and say which teaches more, with an interval.

    ensue corpus compare corpora/raw corpora/filtered --out comparisons/filter --tokens 2000000
    """

    first: Positional[Path]
    """A corpus, prepared data, or a file or folder of text."""
    second: Positional[Path]
    """The other one."""
    out: Path
    """Folder to write the runs and results to; it must not exist."""
    tokens: int = 2_000_000
    """Training tokens of each model."""
    seeds: int = 1
    """How many models of each corpus are trained."""
    model: str = "modern-micro"
    """Which preset."""
    held_out: Path | None = None
    """Text to score on; parts of both corpora unless said."""
    json: bool = False
    """Print JSON for a program to read."""

    def start(self) -> None:
        import json
        from dataclasses import asdict

        from ensue.recipes.corpora.compare import compare_corpora, describe
        from ensue.recipes.display import Display

        found = compare_corpora(
            self.first,
            self.second,
            self.out,
            tokens=self.tokens,
            seeds=self.seeds,
            model=self.model,
            held_out=self.held_out,
            display=Display(to_stderr=True),
        )
        print(json.dumps(asdict(found)) if self.json else describe(found, self.first, self.second))


@dataclass(frozen=True)
class CorpusCalibrate:
    """Plant near-duplicates of known similarity in your own text, and measure which of them are found.

    ensue corpus calibrate corpora/web --out calibrations/web --bands 20 --rows 5
    """

    text: Positional[Path]
    """A corpus, prepared data, or a file or folder of text."""
    out: Path | None = None
    """Folder for calibration.json and calibration.png; it must not exist."""
    sample: int = 1000
    """How many documents get copies."""
    bands: int = 14
    """Bands of MinHashes; more of them find more, and compare more."""
    rows: int = 8
    """MinHashes in a band; more of them find less."""
    size: int = 5
    """Words, or characters in scripts without spaces, in a shingle."""
    threshold: float = 0.8
    """Jaccard similarity from which two documents are duplicates."""
    seed: int = 0
    """Of what is planted."""
    json: bool = False
    """Print JSON for a program to read."""

    def start(self) -> None:
        import json
        from dataclasses import asdict

        from ensue.recipes.corpora.calibration import calibrate_duplicates, describe_calibration
        from ensue.text.duplicates.near import NearDuplicates

        step = NearDuplicates(size=self.size, bands=self.bands, rows=self.rows, threshold=self.threshold)
        found = calibrate_duplicates(self.text, step, self.out, sample=self.sample, seed=self.seed)
        print(json.dumps(asdict(found)) if self.json else describe_calibration(found))


@dataclass(frozen=True)
class CorpusMix:
    """Mix prepared data by weights that do not depend on its size, without copying it.

    `ensue train MIX` trains on the mixture; `ensue info MIX` says how often each source is read. A weight may change
    along straight lines over the run, in quotes for the shell: 0.1->0.5, or 0.1->0.1@0.8->0.5 with a point at 80%.

      ensue corpus mix books=data/books:0.3 web=data/web:0.7 --out data/mix
      ensue corpus mix 'books=data/books:0.1->0.5' 'web=data/web:0.9->0.5' --out data/mix
    """

    sources: Positional[tuple[str, ...]]
    """NAME=DATA:WEIGHT each, DATA made by `ensue prepare` or `ensue curate`, all with one tokenizer."""
    out: Path
    """Folder to write; it must not exist."""
    preset: Literal["gpt3"] | None = None
    """GPT-3's weights, for NAME=DATA with the names common-crawl, webtext2, books1, books2 and wikipedia."""
    normalise: bool = False
    """Divide the weights by their sum, if that is not 1."""

    def start(self) -> None:
        from ensue.recipes.mixtures import mix, show_mixture

        mix(self.sources, self.out, preset=self.preset, normalise=self.normalise)
        print(f"{show_mixture(self.out, as_json=False)}\nnext: ensue train {self.out} --run runs/mine --minutes 10")


@dataclass(frozen=True)
class Corpus:
    """Ask a corpus why a document is in it or not; report, calibrate, compare and mix.

    Each action shows its options: ensue corpus why --help

      ensue corpus why 3fa94c01 --corpus corpora/web
      ensue corpus compare corpora/raw corpora/filtered --out comparisons/filter
    """

    action: (
        Annotated[CorpusWhy, subcommand("why", prefix_name=False)]
        | Annotated[CorpusReport, subcommand("report", prefix_name=False)]
        | Annotated[CorpusCompare, subcommand("compare", prefix_name=False)]
        | Annotated[CorpusCalibrate, subcommand("calibrate", prefix_name=False)]
        | Annotated[CorpusMix, subcommand("mix", prefix_name=False)]
    )

    def start(self) -> None:
        self.action.start()
