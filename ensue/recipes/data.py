"""From text to token shards: read, hold out, train a tokenizer, tokenise; one folder, whole or not at all."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import chain
from pathlib import Path
from typing import Literal

from ensue.core.files import folder_aside
from ensue.recipes.display import Display
from ensue.recipes.mixture_file import DataPart, is_mixture, open_sources, read_mixture
from ensue.text.corpus import corpus_columns, read_corpus, write_documents
from ensue.text.document import Document
from ensue.text.find import find_files
from ensue.text.held_out import plan_held_out
from ensue.text.read import read_documents
from ensue.text.skips import SkipReport
from ensue.tokens.byte_level import train_byte_level
from ensue.tokens.shards import Shard, write_shard
from ensue.tokens.tokenizer import Tokenizer, load_tokenizer
from ensue.tokens.weights import Weight

FORMAT = 1
SMALLEST_VOCABULARY = 257
Part = Literal["train", "held_out"]
Split = Callable[[Document], Iterator[tuple[Part, Document]]]


@dataclass(frozen=True)
class DataFacts:
    """What `data.json` says: documents and UTF-8 bytes read, tokens of each part, the tokenizer, what was held out."""

    format: int
    documents: int
    bytes: int
    train_tokens: int
    held_out_tokens: int
    held_out_bytes: int
    vocab: int
    tokenizer: str
    held_out: str
    skipped: dict[str, int]


@dataclass(frozen=True)
class VocabularyChoice:
    """Train a tokenizer of `size`, or of what the text fills, up to `largest`, where no size is said."""

    size: int | None
    largest: int


class Data:
    """A prepared data folder: documents/, tokenizer/, train/, held_out/, data.json, skipped.jsonl; or a mixture of
    several, which has mixture.json only.

    path       where it is
    parts      its shards: one part, or a mixture's sources with their weights
    facts      what data.json says; of a mixture, the sums of what its sources' say
    tokenizer  the one that made all tokens
    """

    def __init__(self, path: Path) -> None:
        """Open the folder. Raises FileNotFoundError or ValueError naming what is missing or does not fit together."""
        self.path = path
        if is_mixture(path):
            mixture = read_mixture(path)
            self.parts = open_sources(path, mixture)
            self.tokenizer: Tokenizer = load_tokenizer(self.parts[0].folder / "tokenizer")
            self.facts = _sum_of_facts([_read_facts(part.folder) for part in self.parts])
            return
        if not (path / "data.json").is_file():
            raise ValueError(
                f"{path} is not prepared data (no data.json); make it with: ensue prepare TEXT --out {path}"
            )
        self.facts = _read_facts(path)
        train, held_out = Shard.open(path / "train"), Shard.open(path / "held_out")
        self.parts = [DataPart("", Weight.constant(1.0), path, train, held_out)]
        self.tokenizer = load_tokenizer(path / "tokenizer")
        for shard in (train, held_out):
            if shard.fingerprint != self.tokenizer.fingerprint:
                raise ValueError(
                    f"{shard.folder} was made with another tokenizer than {path / 'tokenizer'}; prepare again."
                )

    @property
    def train(self) -> Shard:
        """The training shard. Raises ValueError for a mixture, which has several."""
        return self._only.train

    @property
    def held_out(self) -> Shard:
        """The shard that is held out. Raises ValueError for a mixture, which has several."""
        return self._only.held_out

    @property
    def _only(self) -> DataPart:
        if len(self.parts) > 1:
            raise ValueError(f"{self.path} is a mixture; give one of its sources, such as {self.parts[0].folder}")
        return self.parts[0]


def is_data(path: Path) -> bool:
    """Whether `path` is a folder that `prepare` or `mix` made."""
    return (path / "data.json").is_file() or is_mixture(path)


def prepare_files(
    texts: Sequence[Path],
    out: Path,
    *,
    vocab: int | None,
    tokenizer: Tokenizer | None,
    seed: int,
    display: Display,
    largest: int = 8192,
) -> Data:
    """Read files and folders into a data folder at `out`, with a plan for what is held out."""
    files = find_files(texts)
    total = sum(path.stat().st_size for path in files)
    refuse_existing(out)
    with folder_aside(out) as aside:
        skipped = SkipReport(aside / "skipped.jsonl")
        with display.bar("reading", total, "bytes") as bar:
            documents = read_documents(texts, skipped=skipped, on_bytes=bar.advance)
            first = next(documents, None)
            if first is None:
                names = ", ".join(map(str, texts))
                raise ValueError(f"there is no text in {names}: nothing in it could be read.\n{skipped.summary()}")
            write_documents(chain([first], documents), aside / "documents")
        if skipped.count:
            display.say(skipped.summary())
        plan = plan_held_out(corpus_columns(aside / "documents"), seed=seed)
        display.say(plan.describe())
        choice = tokenizer or VocabularyChoice(vocab, largest)
        finish_data(aside, plan.split, plan.describe(), tokenizer=choice, skipped=skipped, display=display)
    return Data(out)


def prepare_documents(
    train: Iterable[Document],
    held_out: Iterable[Document],
    out: Path,
    *,
    vocab: int | None,
    held_out_reason: str,
    display: Display,
    tokenizer: Tokenizer | None = None,
    largest: int = 8192,
) -> Data:
    """Make a data folder from documents already split by the caller."""
    refuse_existing(out)
    held = list(held_out)
    names = {document.id for document in held}

    def split(document: Document) -> Iterator[tuple[Part, Document]]:
        yield ("held_out" if document.id in names else "train"), document

    with folder_aside(out) as aside:
        write_documents([*train, *held], aside / "documents")
        choice = tokenizer or VocabularyChoice(vocab, largest)
        finish_data(aside, split, held_out_reason, tokenizer=choice, skipped=SkipReport(), display=display)
    return Data(out)


def _read_facts(folder: Path) -> DataFacts:
    return DataFacts(**json.loads((folder / "data.json").read_text(encoding="utf-8")))


def _sum_of_facts(facts: Sequence[DataFacts]) -> DataFacts:
    """What several data folders are together."""
    return replace(
        facts[0],
        documents=sum(each.documents for each in facts),
        bytes=sum(each.bytes for each in facts),
        train_tokens=sum(each.train_tokens for each in facts),
        held_out_tokens=sum(each.held_out_tokens for each in facts),
        held_out_bytes=sum(each.held_out_bytes for each in facts),
        held_out="what each source holds out",
        skipped=dict(sum((Counter(each.skipped) for each in facts), Counter[str]())),
    )


def choose_vocabulary(text_bytes: int, largest: int) -> int:
    """A vocabulary that text of this size fills: enough examples of each token to learn it, at most `largest`."""
    for size, enough in ((8192, 8_000_000), (4096, 1_000_000), (2048, 250_000), (1024, 60_000)):
        if text_bytes >= enough and size <= largest:
            return size
    return max(SMALLEST_VOCABULARY, min(512, largest, SMALLEST_VOCABULARY + text_bytes // 50))


def finish_data(
    folder: Path,
    split: Split,
    held_out_reason: str,
    *,
    tokenizer: Tokenizer | VocabularyChoice,
    skipped: SkipReport,
    display: Display,
) -> None:
    """Add tokenizer, shards and data.json to a folder whose documents/ is written already."""
    sizes = [size for _, _, size in corpus_columns(folder / "documents")]

    def part(wanted: Part) -> Iterator[Document]:
        for document in read_corpus(folder / "documents"):
            yield from (piece for name, piece in split(document) if name == wanted)

    if isinstance(tokenizer, VocabularyChoice):
        tokenizer = _train_tokenizer(part("train"), sum(sizes), tokenizer, display)
    tokenizer.save(folder / "tokenizer")
    shards = {}
    with display.bar("tokenising", sum(sizes), "bytes") as bar:
        for name in ("train", "held_out"):
            done = 0

            def report(_documents: int, size: int) -> None:
                nonlocal done
                bar.advance(size - done)
                done = size

            shards[name] = write_shard(part(name), folder / name, tokenizer=tokenizer, on_documents=report)
    facts = DataFacts(
        format=FORMAT,
        documents=len(sizes),
        bytes=sum(sizes),
        train_tokens=len(shards["train"].tokens),
        held_out_tokens=len(shards["held_out"].tokens),
        held_out_bytes=shards["held_out"].bytes,
        vocab=tokenizer.vocab_size,
        tokenizer=tokenizer.fingerprint,
        held_out=held_out_reason,
        skipped=dict(skipped.reasons()),
    )
    (folder / "data.json").write_text(json.dumps(asdict(facts), indent=1) + "\n", encoding="utf-8")


def _train_tokenizer(
    documents: Iterator[Document], total: int, choice: VocabularyChoice, display: Display
) -> Tokenizer:
    size = choice.size or choose_vocabulary(total, choice.largest)
    with display.bar(f"training a tokenizer of {size:,}", total, "bytes") as bar:

        def texts() -> Iterator[str]:
            for document in documents:
                bar.advance(len(document.text.encode()))
                yield document.text

        return train_byte_level(texts(), vocab_size=size, or_fewer=choice.size is None)


def refuse_existing(out: Path) -> None:
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise ValueError(f"{out} already exists; choose a new name, or remove it first.")
