"""Tables of prompts and answers, or of whole conversations, as what a run trains and is measured on."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ensue.recipes.finetuning.columns import check_columns, columns_of
from ensue.recipes.finetuning.config import FineTuneConfig
from ensue.recipes.finetuning.labelled import hold_out
from ensue.recipes.finetuning.table import Row, read_table
from ensue.tokens.conversation import ChatTemplate, checked_messages
from ensue.tokens.conversation_rows import Cuts, Messages, rows_of
from ensue.tokens.conversation_stream import conversation_example
from ensue.tokens.examples import Example
from ensue.tokens.tokenizer import Tokenizer


@dataclass(frozen=True)
class Talk:
    """Conversations of one purpose, and what was left out of those that are too long."""

    examples: Sequence[Example]
    cuts: Cuts

    @property
    def scored(self) -> int:
        """Tokens of answers."""
        return int(sum(example.answer.sum() for example in self.examples))

    @property
    def digest(self) -> str:
        """Hex digits of everything that is read of it."""
        digest = hashlib.sha256()
        for example in self.examples:
            for piece in (example.rows[0], example.answer.astype(np.float32)):
                digest.update(f"{len(piece)},".encode() + piece.tobytes())
        return digest.hexdigest()


@dataclass(frozen=True)
class Talks:
    """What a run reads: the template, the columns, and what it is trained and validated on."""

    template: ChatTemplate
    columns: Mapping[str, str]
    train: Talk
    valid: Talk | None


def read_talks(config: FineTuneConfig, tokenizer: Tokenizer, template: ChatTemplate, *, context: int) -> Talks:
    """The conversations of `config.data`, and of `config.valid` or of rows held out of the data.

    Raises FileNotFoundError or ValueError naming file, row and column for what cannot be read or answered.
    """
    table = read_table(Path(config.data))
    columns = columns_of("instruct", table, config.columns)
    rows: Sequence[Row] = table.rows
    valid = None
    if config.valid is not None:
        valid = read_talk(Path(config.valid), columns, tokenizer, template, context=context)
    else:
        rows, held_out = hold_out(rows, config.held_out, seed=config.split_seed)
        if held_out:
            valid = _talk(held_out, columns, tokenizer, template, context)
    return Talks(template, columns, _talk(rows, columns, tokenizer, template, context), valid)


def read_talk(
    path: Path, columns: Mapping[str, str], tokenizer: Tokenizer, template: ChatTemplate, *, context: int
) -> Talk:
    """Other conversations, in the same columns. Raises FileNotFoundError or ValueError as `read_talks` does."""
    table = read_table(path)
    check_columns(table, columns)
    return _talk(table.rows, columns, tokenizer, template, context)


def conversation_of(row: Row, columns: Mapping[str, str]) -> Messages:
    """A row's messages, up to an answer. Raises ValueError naming the row for one that has none."""
    if "messages" in columns:
        value = _read(row, columns["messages"])
        if isinstance(value, str):
            try:
                value = json.loads(value)
            except ValueError as error:
                raise ValueError(f"{row.source}: {columns['messages']!r} is no list in JSON ({error}).") from error
        messages = value
    else:
        parts = {role: _text(row, column) for role, column in columns.items()}
        asked = "\n\n".join(part for part in (parts["prompt"], parts.get("input", "")) if part)
        messages = [
            {"role": "system", "content": parts.get("system", "")},
            {"role": "user", "content": asked},
            {"role": "assistant", "content": parts["answer"]},
        ]
        for role, column in (("user", "prompt"), ("assistant", "answer")):
            if any(message["role"] == role and not message["content"] for message in messages):
                raise ValueError(f"{row.source}: the text in {columns[column]!r} is empty; leave the row out.")
    try:
        found = checked_messages(messages)
    except ValueError as error:
        raise ValueError(f"{row.source}: {error}") from error
    if not any(message["role"] == "assistant" for message in found[1:]):
        raise ValueError(f"{row.source}: no message of the assistant follows another, so there is nothing to learn.")
    return found


def _talk(
    rows: Sequence[Row], columns: Mapping[str, str], tokenizer: Tokenizer, template: ChatTemplate, context: int
) -> Talk:
    conversations = [conversation_of(row, columns) for row in rows]
    examples, cuts = [], Cuts()
    for row, found in zip(rows, rows_of(template, tokenizer, conversations, limit=context), strict=True):
        examples.append(conversation_example(found.ids, found.scored, row.source))
        cuts += found.cuts
    return Talk(examples, cuts)


def _read(row: Row, column: str) -> Any:
    if column not in row.values:
        raise ValueError(f"{row.source} has no {column!r}; it has {', '.join(row.values) or 'nothing'}.")
    return row.values[column]


def _text(row: Row, column: str) -> str:
    value = _read(row, column)
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        value = str(value)
    if value is not None and not isinstance(value, str):
        raise ValueError(f"{row.source}: {column!r} holds {type(value).__name__}, not text.")
    return (value or "").strip()
