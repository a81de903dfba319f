"""The labelled sets of the study as three files each: to train on, to choose by, and to test on."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ensue.core.config import suggest
from ensue.core.files import write_file_aside
from ensue.recipes.finetuning.labelled import hold_out
from ensue.recipes.finetuning.table import Row, read_table
from ensue.tokens.task_shapes import TaskName


@dataclass(frozen=True)
class LabelledSet:
    """A set by its files' names without endings. Of `train`, `valid` rows are held out, drawn by `split_seed`."""

    name: str
    title: str
    task: TaskName
    train: str
    test: str
    valid: int
    split_seed: int = 0


SETS = {
    known.name: known
    for known in (
        # The split of the 2016 validation stories is the one in the paper's code.
        LabelledSet("rocstories", "ROCStories", "choice", "rocstories_val", "rocstories_test", 374, 3535999445),
        LabelledSet("sst2", "SST-2", "classify", "sst2_train", "sst2_dev", 1000),
        LabelledSet("rte", "RTE", "entail", "rte_train", "rte_test", 277),
    )
}
NOT_READ = frozenset({"id", "label"})


@dataclass(frozen=True)
class SetFiles:
    """Where the three parts of a set are, and how many rows each has."""

    known: LabelledSet
    train: Path
    valid: Path
    test: Path


def labelled_set(name: str) -> LabelledSet:
    """Raises ValueError naming the nearest one there is."""
    if name not in SETS:
        raise ValueError(f"there is no labelled set {name!r} in this study{suggest(name, SETS)}")
    return SETS[name]


def write_parts(
    known: LabelledSet, files: Path, out: Path, *, train_limit: int | None, test_limit: int | None
) -> SetFiles:
    """Split the set of folder `files` into `out`, which keeps what is there from before.

    Limits take rows by a draw that is always the same. Test rows that read the same as a row to train on are left out.
    Raises FileNotFoundError naming a file that is missing.
    """
    parts = SetFiles(known, *(out / f"{part}.jsonl" for part in ("train", "valid", "test")))
    if all(path.is_file() for path in (parts.train, parts.valid, parts.test)):
        return parts
    rows, valid = hold_out(read_table(_find(files, known.train)).rows, known.valid, seed=known.split_seed)
    train = _limited(rows, train_limit)
    seen = {_read(row) for row in train}
    test = [row for row in read_table(_find(files, known.test)).rows if _read(row) not in seen]
    for path, chosen in ((parts.train, train), (parts.valid, valid), (parts.test, _limited(test, test_limit))):
        lines = [json.dumps(dict(row.values), ensure_ascii=False) for row in chosen]
        write_file_aside(path, "\n".join(lines) + "\n")
    return parts


def _find(folder: Path, name: str) -> Path:
    """The file of this name with any ending that is read."""
    found = sorted(folder.glob(f"{name}.*"))
    if not found:
        raise FileNotFoundError(
            f"there is no {name}.jsonl (or .jsonl.gz, .csv, .tsv, .parquet) in {folder}; put it there, or leave its "
            "set out of --tasks."
        )
    return found[0]


def _limited(rows: Sequence[Row], limit: int | None) -> Sequence[Row]:
    if limit is None or limit >= len(rows):
        return rows
    return [rows[place] for place in sorted(np.random.default_rng(0).permutation(len(rows))[:limit])]


def _read(row: Row) -> str:
    """What of a row a model reads."""
    return json.dumps({name: value for name, value in row.values.items() if name not in NOT_READ}, sort_keys=True)
