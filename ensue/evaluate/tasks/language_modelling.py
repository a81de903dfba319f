"""Language modelling: how likely whole texts are, over the units that each set is published in.

GPT-2 (2019), section 3.1 and table 3. Its windows are not stated; here they do not overlap unless a stride is given,
and each passage is read after the end token: an article, a sentence where a set is of single sentences, else pieces of
the text of about `PIECE` characters, cut at line ends, so that there is something to compute an interval over.
"""

from __future__ import annotations

import gzip
import re
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path

from ensue.evaluate.detokenizers import BILLION_WORDS, PENN_TREEBANK, WIKITEXT, Detokenizer
from ensue.evaluate.likelihood_metrics import (
    bits,
    characters,
    perplexity,
    token_perplexity,
    utf8_bytes,
    words,
    words_and_line_ends,
)
from ensue.evaluate.task import Files, Item, Metric, Passage, Row, Task
from ensue.evaluate.tasks.published import one_of, rows_of

PIECE = 25_000
HELD_BACK = 5_000_000
"""The last bytes of enwik8 and text8, which are their test sets (Mahoney 2006; the split is that of table 3's rows)."""

_ARTICLE = re.compile(r"(?:^ \n)?^ = (?!= ).*(?<! =) = \n(?= \n)", re.MULTILINE)
"""A title with the blank line before it, which belongs to its article."""


def articles(path: str) -> Iterator[Row]:
    """WikiText's articles, each from its title to the next; together they are the file."""
    text = text_of(path)
    starts = [found.start() for found in _ARTICLE.finditer(text)]
    bounds = [0, *(start for start in starts if start > 0), len(text)]
    for begin, end in pairwise(bounds):
        if text[begin:end].strip():
            yield {"text": text[begin:end]}


def whole(path: str) -> Iterator[Row]:
    """All of a file as one text."""
    yield {"text": text_of(path)}


def sentences(path: str) -> Iterator[Row]:
    """The lines of a file, or of all files of a folder in the order of their names, each with its end."""
    files = sorted(Path(path).iterdir()) if Path(path).is_dir() else [Path(path)]
    for file in files:
        for line in text_of(str(file)).splitlines(keepends=True):
            if line.strip():
                yield {"text": line}


def pieces(path: str) -> Iterator[Row]:
    """A text in pieces, cut at line ends or, where lines are longer than a piece, at spaces."""
    return _pieces(text_of(path))


def last_part(path: str) -> Iterator[Row]:
    """The test set of enwik8 or text8 in pieces: the last five million bytes of a file that has more."""
    return _pieces(Path(path).read_bytes()[-HELD_BACK:].decode("utf-8", errors="ignore"))


def rows_or_pieces(path: str) -> Iterator[Row]:
    """The texts of a file of rows (column `text`), or a plain text in pieces."""
    if not re.search(r"\.(jsonl|csv|tsv|parquet)(\.gz|\.zst)?$", path):
        yield from pieces(path)
        return
    for row in rows_of(path):
        yield {"text": one_of(row, "text")}


def text_of(path: str) -> str:
    """A file's text, with its line ends as they are."""
    packed = Path(path).read_bytes()
    return (gzip.decompress(packed) if path.endswith(".gz") else packed).decode("utf-8")


def plain_text(path: str | Path, *, stride: int | None = None) -> Task:
    """A task of any text: a plain one, read in pieces, or a file of rows whose column `text` holds one text each.

    Measured in bits per byte, which every script, language and tokenizer shares.
    """
    return Task(
        name=Path(path).name.partition(".")[0],
        about=f"bits per byte of {Path(path).name}",
        files=Files(test=str(Path(path).absolute()), columns=("text",), read=rows_or_pieces),
        item=_as_it_is,
        metrics=(
            bits(utf8_bytes, name="bits_per_byte"),
            bits(characters, name="bits_per_character"),
            token_perplexity(),
        ),
        keep=_has_text,
        stride=stride,
    )


def _pieces(text: str) -> Iterator[Row]:
    begin = 0
    while begin < len(text):
        end = begin + PIECE
        if end < len(text):
            cuts = [text.rfind(sign, begin, end) + 1 for sign in ("\n", " ")]
            end = next((cut for cut in cuts if cut > begin), end)
        yield {"text": text[begin:end]}
        begin = end


def _has_text(row: Row) -> bool:
    return bool(row["text"].strip())


def _as_it_is(row: Row) -> Item:
    return Passage(row["text"], row["text"])


def _written_out(detokenizer: Detokenizer) -> Callable[[Row], Item]:
    def item(row: Row) -> Item:
        return Passage(detokenizer.apply(row["text"]), row["text"])

    return item


_IN_WORDS = (
    perplexity(words_and_line_ends),
    perplexity(words, name="perplexity_words"),
    bits(utf8_bytes, name="bits_per_byte"),
    token_perplexity(),
)


def _modelling(
    name: str,
    about: str,
    files: Files,
    *,
    detokenizer: Detokenizer | None = None,
    metrics: tuple[Metric, ...] = _IN_WORDS,
) -> Task:
    return Task(
        name=name,
        about=f"{about} (GPT-2 2019, section 3.1)",
        files=files,
        item=_as_it_is if detokenizer is None else _written_out(detokenizer),
        metrics=metrics,
        keep=_has_text,
    )


def _wikitext(version: str, test: str, read: Callable[[str], Iterator[Row]]) -> Files:
    return Files(
        test=test,
        columns=("text",),
        origin=f"https://huggingface.co/datasets/Salesforce/wikitext (wikitext-{version}-v1: its test set as {test})",
        read=read,
    )


WIKITEXT2 = _modelling(
    "wikitext2",
    "perplexity a word of WikiText-2's articles, each read by itself, written out",
    _wikitext("2", "wikitext2/test", articles),
    detokenizer=WIKITEXT,
)
WIKITEXT2_WHOLE = _modelling(
    "wikitext2_whole",
    "the same as one long text, in windows that do not end with an article",
    _wikitext("2", "wikitext2/test", whole),
    detokenizer=WIKITEXT,
)
WIKITEXT2_TOKENIZED = _modelling(
    "wikitext2_tokenized",
    "the same articles as they are published, tokenised",
    _wikitext("2", "wikitext2/test", articles),
)
WIKITEXT103 = _modelling(
    "wikitext103",
    "perplexity a word of WikiText-103's articles, each read by itself, written out",
    _wikitext("103", "wikitext-103/wiki.test", articles),
    detokenizer=WIKITEXT,
)
PTB = _modelling(
    "ptb",
    "perplexity a word of Penn Treebank, written out",
    Files(
        test="ptb.test",
        columns=("text",),
        origin="simple-examples.tgz of T. Mikolov, data/ptb.test.txt",
        read=pieces,
    ),
    detokenizer=PENN_TREEBANK,
)
ONE_BILLION_WORDS = _modelling(
    "one_billion_words",
    "perplexity a word of single sentences of news, written out",
    Files(
        test="one_billion_words",
        columns=("text",),
        origin="https://www.statmt.org/lm-benchmark (put news.en.heldout-00000-of-00050, or the folder "
        "heldout-monolingual.tokenized.shuffled, there under that name)",
        read=sentences,
    ),
    detokenizer=BILLION_WORDS,
)
ENWIK8 = _modelling(
    "enwik8",
    "bits per byte of the last 5 MB of Wikipedia's XML",
    Files(test="enwik8", columns=("text",), origin="https://mattmahoney.net/dc/enwik8.zip", read=last_part),
    metrics=(bits(utf8_bytes, name="bits_per_byte"), token_perplexity()),
)
TEXT8 = _modelling(
    "text8",
    "bits per character of the last 5 million letters of Wikipedia's text",
    Files(test="text8", columns=("text",), origin="https://mattmahoney.net/dc/text8.zip", read=last_part),
    metrics=(bits(characters, name="bits_per_character"), perplexity(words), token_perplexity()),
)

TASKS = (WIKITEXT2, WIKITEXT2_WHOLE, WIKITEXT2_TOKENIZED, WIKITEXT103, PTB, ONE_BILLION_WORDS, ENWIK8, TEXT8)
