"""Where the rows of a split are in a data folder: a file, a folder of files, or a Hugging Face dataset on disk."""

from __future__ import annotations

import difflib
import hashlib
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from ensue.core.files import sha256_of

Role = Literal["test", "train"]

ENDINGS = (".jsonl", ".csv", ".tsv", ".parquet")
PACKED = ("", ".gz", ".zst")
ARROW = ".arrow"
SPLITS = {
    "train": "train",
    "test": "test",
    "validation": "validation",
    "valid": "validation",
    "val": "validation",
    "dev": "validation",
}
"""What splits are called, and what each name means."""

_SPLIT_FILE = re.compile(r"(?:.*[-_])?(train|test|validation|valid|val|dev)(?:[-_.].*)?")


@dataclass(frozen=True)
class Split:
    """The files that hold a split's rows, in order."""

    name: str
    paths: tuple[Path, ...]

    def digest(self) -> str:
        """Hex SHA-256 of the file's bytes; of several, of theirs."""
        files = (inner for path in self.paths for inner in ([path] if path.is_file() else sorted(path.rglob("*"))))
        sums = [sha256_of(path) for path in files if path.is_file()]
        return sums[0] if len(sums) == 1 else hashlib.sha256("".join(sums).encode()).hexdigest()


def find_split(data: Path, name: str, *, role: Role, origin: str = "", any_ending: bool = False) -> Split:
    """The files of split `name` in the folder `data`.

    Looked for, in this order: the files NAME.jsonl, .csv, .tsv and .parquet, each also with .gz or .zst; a folder NAME
    of such files, of a Hugging Face dataset (parquet), or one that `save_to_disk` wrote (arrow). Where the folder holds
    several splits, that of the `role` is taken; of a dataset BASE, its split is also found as BASE_test, BASE_dev and
    so on. With `any_ending`, a file or folder of exactly that name, or with any ending, is taken as it is; a name in a
    folder of its own (wikitext2/test) is also found beside the data folder. Raises FileNotFoundError that tells what
    was looked for, where, and `origin`, where the files come from.
    """
    if any_ending:
        found = _of_any_ending(data, name)
        if found is None and "/" in name:
            found = _of_any_ending(data.parent, name)
        if found is not None:
            return Split(name, found)
    else:
        for ending in (ending + packed for ending in ENDINGS for packed in PACKED):
            if (data / f"{name}{ending}").is_file():
                return Split(name, (data / f"{name}{ending}",))
        if (data / name).is_dir():
            return Split(name, _in_folder(data / name, wanted=None, role=role))
        base, _, suffix = name.rpartition("_")
        if base and suffix in SPLITS and (data / base).is_dir():
            return Split(name, _in_folder(data / base, wanted=suffix, role=role))
    raise FileNotFoundError(_not_there(data, name, origin, any_ending))


def _of_any_ending(data: Path, name: str) -> tuple[Path, ...] | None:
    exact = data / name
    if exact.is_file() or exact.is_dir():
        return (exact,)
    if not exact.parent.is_dir():
        return None
    matching = sorted(path for path in exact.parent.iterdir() if path.name.startswith(f"{exact.name}."))
    return (matching[0],) if matching else None


def _in_folder(folder: Path, *, wanted: str | None, role: Role) -> tuple[Path, ...]:
    """The files of one split among those of a folder."""
    splits = _splits_of(folder)
    if not splits:
        listed = ", ".join((*ENDINGS, ARROW))
        raise FileNotFoundError(f"{folder} holds no file of rows: none in it ends in {listed}.")
    if list(splits) == [""]:
        return splits[""]
    if wanted is not None:
        choices: Sequence[str] = (SPLITS[wanted],)
    else:
        choices = ("train",) if role == "train" else ("test", "validation")
    for choice in choices:
        if choice in splits:
            return splits[choice]
    there = ", ".join(sorted(name or "files" for name in splits))
    raise FileNotFoundError(f"{folder} has no split {' or '.join(choices)}; it has: {there}.")


def _splits_of(folder: Path) -> dict[str, tuple[Path, ...]]:
    """Files by what their split is called; by "" where their names tell of none."""
    if (folder / "dataset_dict.json").is_file():
        names = json.loads((folder / "dataset_dict.json").read_text(encoding="utf-8"))["splits"]
        return {SPLITS.get(name, name): _saved(folder / name) for name in names}
    if (folder / "state.json").is_file():
        return {"": _saved(folder)}
    endings = tuple(ending + packed for ending in (*ENDINGS, ARROW) for packed in PACKED)
    places = [folder, folder / "data"]
    files = sorted(
        path for place in places if place.is_dir() for path in place.iterdir() if path.name.endswith(endings)
    )
    splits: dict[str, list[Path]] = {}
    for path in files:
        named = _SPLIT_FILE.fullmatch(path.name)
        splits.setdefault(SPLITS[named[1]] if named else "", []).append(path)
    return {name: tuple(paths) for name, paths in splits.items()}


def _saved(folder: Path) -> tuple[Path, ...]:
    """The arrow files of one dataset that `datasets` saved, in their order."""
    state = folder / "state.json"
    if not state.is_file():
        raise FileNotFoundError(f"{folder} was not saved whole: it has no state.json; save the dataset again.")
    return tuple(folder / file["filename"] for file in json.loads(state.read_text(encoding="utf-8"))["_data_files"])


def _not_there(data: Path, name: str, origin: str, any_ending: bool) -> str:
    if not data.is_dir():
        return (
            f"there is no data folder {data}, where {name} should be; name the one that holds the task's files: "
            f"--data DIR, or set ENSUE_DATA.{_from(origin)}"
        )
    endings = "with any ending" if any_ending else f"{', '.join(ENDINGS)} (each also .gz or .zst), or as a folder"
    there = sorted(path.name.partition(".")[0] for path in data.iterdir() if not path.name.startswith("."))
    close = difflib.get_close_matches(name, there, n=1, cutoff=0.6)
    hint = f" The nearest there is {close[0]}." if close else ""
    return f"{data} has no {name}: looked for {name} {endings}.{hint}{_from(origin)}"


def _from(origin: str) -> str:
    return f" The original files: {origin}" if origin else ""
