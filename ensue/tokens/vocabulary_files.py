"""The vocabulary and merges files of byte-pair tokenizers: read, written, checked and fingerprinted."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

Merges = Sequence[tuple[str, str]]


def read_json(path: Path) -> Any:
    """The JSON value in a file; ValueError naming the file where it is damaged."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path} is damaged ({error}); copy it again from where it came.") from error


def read_vocabulary(path: Path) -> dict[str, int]:
    """Token -> id from a `vocab.json` or `encoder.json`; ValueError naming the file where it is not one."""
    return checked_vocabulary(read_json(path), path)


def checked_vocabulary(value: Any, path: Path) -> dict[str, int]:
    """`value` as token -> id; ValueError naming the file unless it has one token for each id from 0 on."""
    if not isinstance(value, dict) or not value or not all(type(number) is int for number in value.values()):
        raise ValueError(f"{path} is not a vocabulary: it should map each token to its id.")
    if sorted(value.values()) != list(range(len(value))):
        raise ValueError(f"{path} is damaged: its {len(value)} tokens do not have the ids 0 to {len(value) - 1}.")
    return value


def read_merges(path: Path) -> list[tuple[str, str]]:
    """The merges of a `merges.txt` or `vocab.bpe` in rank order, with or without the version line at its head.

    Raises ValueError naming the file and the line that is not two symbols.
    """
    try:
        lines = path.read_text(encoding="utf-8").split("\n")
    except ValueError as error:
        raise ValueError(f"{path} is damaged ({error}); copy it again from where it came.") from error
    merges = []
    for number, line in enumerate(lines, start=1):
        symbols = line.rstrip("\r").split(" ")
        if symbols == [""] or (number == 1 and line.startswith("#version")):
            continue
        if len(symbols) != 2:
            raise ValueError(f"{path}, line {number}: a merge is two symbols with one space between, not {line!r}.")
        merges.append((symbols[0], symbols[1]))
    return merges


def write_vocabulary(path: Path, vocabulary: Mapping[str, int]) -> None:
    """Write token -> id in id order, as transformers and llama.cpp read it."""
    ordered = dict(sorted(vocabulary.items(), key=lambda item: item[1]))
    path.write_text(json.dumps(ordered, ensure_ascii=False), encoding="utf-8")


def write_merges(path: Path, merges: Merges) -> None:
    """Write merges in rank order after a version line, which some readers skip without looking."""
    lines = "".join(f"{left} {right}\n" for left, right in merges)
    path.write_text("#version: 0.2\n" + lines, encoding="utf-8")


def fingerprint_of(kind: str, vocabulary: Mapping[str, int], merges: Merges, rules: Mapping[str, Any]) -> str:
    """Hex SHA-256 over what decides the ids: the same vocabulary, merges and rules give the same, in any folder."""
    tokens = sorted(vocabulary, key=lambda token: vocabulary[token])
    content = {"kind": kind, "tokens": tokens, "merges": [list(merge) for merge in merges], "rules": dict(rules)}
    return hashlib.sha256(json.dumps(content, sort_keys=True, separators=(",", ":")).encode("ascii")).hexdigest()
