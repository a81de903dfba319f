"""Translation by example, and asked for in words.

GPT-2 (2019), section 3.7: pairs `english sentence = french sentence`, then `english sentence =`, answered greedily, of
which the first sentence counts. GPT-3 (2020), section 3.3 and figures G.36 to G.41: the same pairs with examples, and
`Q: What is the French translation of ... A:` without, by beam search.
"""

from __future__ import annotations

import html
import re
from collections.abc import Callable, Iterator
from pathlib import Path

from ensue.evaluate.scorer import Decoding
from ensue.evaluate.sentences import first_sentence
from ensue.evaluate.task import Files, Item, Question, Row, Task
from ensue.evaluate.tasks.published import rows_of
from ensue.evaluate.text_metrics import bleu

LANGUAGES = {
    "de": "German",
    "en": "English",
    "es": "Spanish",
    "fr": "French",
    "ja": "Japanese",
    "ro": "Romanian",
    "ru": "Russian",
    "zh": "Chinese",
}
_SEGMENT = re.compile(r"<seg[^>]*>(.*?)</seg>", re.DOTALL)


def parallel(*languages: str) -> Callable[[str], Iterator[Row]]:
    """A reader of parallel text into rows with a column for each language.

    The path is a folder with one file for each, whose name ends in .LANGUAGE or .LANGUAGE.sgm, one of these files with
    the others beside it, or a file of rows with these columns, or with them inside a column `translation`. Raises
    ValueError where a file is missing or the files have different numbers of lines.
    """

    def read(path: str) -> Iterator[Row]:
        place = Path(path)
        if re.search(r"\.(jsonl|csv|tsv|parquet)(\.gz|\.zst)?$", place.name):
            yield from (row.get("translation", row) for row in rows_of(path))
            return
        folder, stem = (place, "") if place.is_dir() else (place.parent, place.name.partition(".")[0])
        columns = [_segments(_one_file(folder, stem, language)) for language in languages]
        if len(set(map(len, columns))) > 1:
            counts = ", ".join(f"{language} {len(lines):,}" for language, lines in zip(languages, columns, strict=True))
            raise ValueError(f"{path}: parallel files must have a line for each sentence, and these have {counts}.")
        for texts in zip(*columns, strict=True):
            yield dict(zip(languages, texts, strict=True))

    return read


def _one_file(folder: Path, stem: str, language: str) -> Path:
    endings = (f".{language}", f".{language}.sgm", f".{language}.txt")
    for path in sorted(folder.iterdir()):
        if path.name.startswith(stem) and path.name.endswith(endings):
            return path
    raise ValueError(f"{folder} has no file {stem or 'NAME'}.{language} beside those of the other languages; add it.")


def _segments(path: Path) -> list[str]:
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".sgm":
        return [html.unescape(found).strip() for found in _SEGMENT.findall(text)]
    return text.removesuffix("\n").split("\n")


def by_example(source: str, target: str) -> Callable[[Row], Item]:
    """`sentence =`, which examples before it explain."""

    def item(row: Row) -> Item:
        return Question(f"{row[source].strip()} =", (f" {row[target].strip()}",))

    return item


def by_instruction(source: str, target: str) -> Callable[[Row], Item]:
    """The question for a translation in words."""

    def item(row: Row) -> Item:
        question = f"Q: What is the {LANGUAGES[target]} translation of {row[source].strip()} A:"
        return Question(question, (f" {row[target].strip()}",))

    return item


def translations(files: Files, name: str, source: str, target: str) -> tuple[Task, Task]:
    """The task NAME by example, and NAME_instruct in words."""
    way = f"{LANGUAGES[source]} to {LANGUAGES[target]}"
    example = Task(
        name=name,
        about=f"{way} by examples, sentence = sentence, greedily, the first sentence (GPT-2 2019, section 3.7)",
        files=files,
        item=by_example(source, target),
        metrics=(bleu(target, read=first_sentence),),
        separator="\n",
        decoding=Decoding("greedy", most=100),
        shots=64,
    )
    instruct = Task(
        name=f"{name}_instruct",
        about=f"{way}, asked for in words (GPT-3 2020, section 3.3, figure G.36)",
        files=files,
        item=by_instruction(source, target),
        metrics=(bleu(target),),
        separator="\n\n",
        decoding=Decoding("beam", most=100),
    )
    return example, instruct


def _multi30k(source: str, target: str) -> tuple[Task, Task]:
    files = Files(
        test="multi30k_val",
        train="multi30k_train10k",
        columns=(source, target),
        origin="https://github.com/multi30k/dataset (data/task1/raw, as rows with the columns en, de, fr)",
    )
    return translations(files, f"multi30k_{source}_{target}", source, target)


def _wmt(year: int, other: str, source: str, target: str) -> tuple[Task, Task]:
    files = Files(
        test=f"wmt{year}_{other}_en_test",
        train=f"wmt{year}_{other}_en_train",
        columns=(source, target),
        origin=f"https://www.statmt.org/wmt{year}/translation-task.html (newstest20{year}: a folder with one file for "
        f"each of .{other} and .en, as lines or .sgm; likewise the one to draw examples from)",
        read=parallel("en", other),
    )
    return translations(files, f"wmt{year}_{source}_{target}", source, target)


_PAIRS = (("en", "fr"), ("fr", "en"), ("en", "de"), ("de", "en"))

TASKS = (
    *(task for pair in (*_PAIRS, ("de", "fr"), ("fr", "de")) for task in _multi30k(*pair)),
    *(task for pair in (("en", "fr"), ("fr", "en")) for task in _wmt(14, "fr", *pair)),
    *(task for pair in (("en", "de"), ("de", "en")) for task in _wmt(16, "de", *pair)),
    *(task for pair in (("en", "ro"), ("ro", "en")) for task in _wmt(16, "ro", *pair)),
)
