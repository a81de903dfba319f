"""A list of links from elsewhere, with scores and dates, held as hashes of the pages they lead to."""

from __future__ import annotations

import csv
import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from ensue.text.find import PACKINGS
from ensue.text.streams import FileProgress, Unreadable, line_chunks, read_chunks, text_chunks
from ensue.text.web.urls import url_key

KINDS = (".jsonl", ".csv", ".tsv", ".parquet")
URL_NAMES = ("url", "link", "target")
SCORE_NAMES = ("score", "karma", "points", "ups")
DATE_NAMES = ("date", "created_utc", "created", "time", "timestamp")
LINE_BYTES = 1 << 20
ROWS_AT_ONCE = 1 << 16


@dataclass(frozen=True)
class LinkList:
    """The pages linked to: `keys` (N,) uint64, ascending, hashes of their `url_key`; `scores` (N,) the best of each."""

    keys: np.ndarray
    scores: np.ndarray

    def score(self, url: str) -> int | None:
        """The highest score of the links to a page, None if there is none."""
        key = _hash(url_key(url))
        at = int(np.searchsorted(self.keys, key))
        return int(self.scores[at]) if at < len(self.keys) and self.keys[at] == key else None


def read_links(path: Path, *, least_score: int, until: str) -> LinkList:
    """The links of a file with columns for the URL, the score and the date, no later than the day `until`.

    Those with a lower score, without a date where `until` asks for one, or without a URL are left out. Raises
    ValueError for a file that is missing, is of another kind, or has no row with a URL and a score.
    """
    kind, packing = _kind(path)
    keys: list[np.ndarray] = []
    scores: list[np.ndarray] = []
    usable = 0
    for rows in _batches(_rows(path, kind, packing)):
        found: list[tuple[int, int]] = []
        for row in rows:
            url, score = _named(row, URL_NAMES), _number(_named(row, SCORE_NAMES))
            if not (isinstance(url, str) and (key := url_key(url)) and score is not None):
                continue
            usable += 1
            if score >= least_score and (not until or "" < day_of(_named(row, DATE_NAMES)) <= until):
                found.append((_hash(key), score))
        keys.append(np.array([key for key, _ in found], np.uint64))
        scores.append(np.array([score for _, score in found], np.int64))
    if not usable:
        columns = ", ".join((URL_NAMES[0], SCORE_NAMES[0], DATE_NAMES[0]))
        raise ValueError(f"links={str(path)!r} has no row with a URL and a score; its columns are to be {columns}.")
    return _best_of_each(np.concatenate(keys), np.concatenate(scores))


def day_of(value: object) -> str:
    """A day as 2017-12-31 from ISO 8601, from seconds since 1970, or from a datetime; "" if it is none of them."""
    if isinstance(value, datetime):
        return (value.astimezone(UTC) if value.tzinfo else value).date().isoformat()
    text = str(value if value is not None else "").strip()
    try:
        if text.replace(".", "", 1).isdigit() and "-" not in text and len(text) != 8:
            return datetime.fromtimestamp(float(text), UTC).date().isoformat()
        moment = datetime.fromisoformat(text)
    except (ValueError, OverflowError, OSError):
        return ""
    return (moment.astimezone(UTC) if moment.tzinfo else moment).date().isoformat()


def _best_of_each(keys: np.ndarray, scores: np.ndarray) -> LinkList:
    order = np.argsort(keys, kind="stable")
    unique, starts = np.unique(keys[order], return_index=True)
    return LinkList(unique, np.maximum.reduceat(scores[order], starts) if len(unique) else scores)


def _hash(key: str) -> int:
    return int.from_bytes(hashlib.blake2b(key.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "little")


def _kind(path: Path) -> tuple[str, str]:
    if not path.is_file():
        raise ValueError(f"links={str(path)!r} is not a file; give one with the columns url, score and date.")
    for kind in KINDS:
        for packing in PACKINGS if kind != ".parquet" else ("",):
            if path.name.lower().endswith(kind + packing):
                return kind, packing
    raise ValueError(f"links={str(path)!r} is of a kind that is not read; give a file ending in {', '.join(KINDS)}.")


def _rows(path: Path, kind: str, packing: str) -> Iterator[Mapping[str, Any]]:
    def ignore(_: int) -> None: ...

    chunks = read_chunks(path, packing, FileProgress(0, ignore))
    try:
        if kind == ".parquet":
            yield from _parquet_rows(path)
        elif kind == ".jsonl":
            yield from _json_rows(chunks)
        else:
            yield from csv.DictReader(_lines(text_chunks(chunks)), delimiter="," if kind == ".csv" else "\t")
    except (Unreadable, csv.Error) as error:
        raise ValueError(f"links={str(path)!r} cannot be read: {error}") from error


def _json_rows(chunks: Iterable[bytes]) -> Iterator[Mapping[str, Any]]:
    for line in line_chunks(chunks, limit=LINE_BYTES):
        try:
            row = json.loads(line) if line else None
        except ValueError:
            continue
        if isinstance(row, dict):
            yield row


def _parquet_rows(path: Path) -> Iterator[Mapping[str, Any]]:
    import pyarrow
    import pyarrow.parquet

    try:
        with pyarrow.parquet.ParquetFile(path) as file:
            wanted = [name for name in file.schema_arrow.names if name in (*URL_NAMES, *SCORE_NAMES, *DATE_NAMES)]
            for batch in file.iter_batches(batch_size=ROWS_AT_ONCE, columns=wanted):
                yield from batch.to_pylist()
    except (OSError, pyarrow.ArrowException) as error:
        raise Unreadable("the Parquet file is damaged", str(error)[:200]) from error


def _lines(texts: Iterable[str]) -> Iterator[str]:
    held = ""
    for text in texts:
        *lines, held = (held + text).split("\n")
        yield from lines
    if held:
        yield held


def _batches(rows: Iterable[Mapping[str, Any]]) -> Iterator[list[Mapping[str, Any]]]:
    batch: list[Mapping[str, Any]] = []
    for row in rows:
        batch.append(row)
        if len(batch) == ROWS_AT_ONCE:
            yield batch
            batch = []
    yield batch


def _named(row: Mapping[str, Any], names: tuple[str, ...]) -> Any:
    return next((row[name] for name in names if row.get(name) not in (None, "")), None)


def _number(value: object) -> int | None:
    try:
        return int(float(str(value)))
    except (ValueError, OverflowError):
        return None
