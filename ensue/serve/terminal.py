"""`ensue chat`: a conversation in the terminal."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import fields, replace
from typing import Any, TextIO

from ensue.generate.settings import Sampling
from ensue.serve.talk import Talk

HELP = """\
/reset            begin again
/undo             take back the last question and its answer
/set NAME VALUE   temperature, top_k, top_p, repetition_penalty, no_repeat_ngram, seed, or max_tokens; alone, shows them
/quit             leave (so does Ctrl-D); Ctrl-C breaks off an answer"""


def converse(talk: Talk, *, read: Callable[[str], str] = input, out: TextIO | None = None) -> None:
    """Read questions and write answers as they come, until /quit or the end of the input."""
    out = out or sys.stdout
    while True:
        try:
            line = read("> ").strip()
        except EOFError:
            return
        except KeyboardInterrupt:
            print(file=out)
            continue
        if line == "/quit":
            return
        if line.startswith("/"):
            print(_obey(talk, line), file=out)
        elif line:
            _answer(talk, line, out)


def _answer(talk: Talk, line: str, out: TextIO) -> None:
    answer = None
    try:
        answer = talk.ask(line)
        for piece in answer:
            print(piece, end="", flush=True, file=out)
    except KeyboardInterrupt:
        print(" ...", end="", file=out)
    except ValueError as error:
        talk.undo()
        print(error, end="", file=out)
    print(file=out)


def _obey(talk: Talk, line: str) -> str:
    name, *rest = line[1:].split()
    if name == "reset" and not rest:
        talk.reset()
        return "(begun again)"
    if name == "undo" and not rest:
        return "(taken back)" if talk.undo() else "(there is nothing to take back)"
    if name == "set":
        try:
            return _set(talk, rest)
        except ValueError as error:
            return str(error)
    return HELP


def _set(talk: Talk, words: list[str]) -> str:
    names = [field.name for field in fields(Sampling)]
    if len(words) == 2:
        name, value = words
        if name == "max_tokens":
            talk.most = max(1, int(value))
        elif name in names:
            number = float if name in ("temperature", "top_p", "repetition_penalty") else int
            changed: dict[str, Any] = {name: None if value == "none" else number(value)}
            talk.sampling = replace(talk.sampling, **changed)
        else:
            raise ValueError(f"there is no setting {name!r}; there are {', '.join(names)} and max_tokens.")
    elif words:
        raise ValueError("type /set NAME VALUE, such as /set temperature 0.7")
    shown = [f"{name} {getattr(talk.sampling, name)}" for name in names]
    return ", ".join([*shown, f"max_tokens {talk.most}"])
