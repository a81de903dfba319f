"""The hash of a task's definition: its fields, and the source of the functions it is made of."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import inspect
import re
import types
from collections.abc import Iterator, Mapping, Set
from typing import Any

from ensue.evaluate.task import Task


def definition_digest(task: Task) -> str:
    """Hex SHA-256 that changes when the task does: a field, a function, or a function or constant that one names.

    Functions are followed into modules of the same package or file; others count by their names.
    """
    return hashlib.sha256("\n".join(_described(task, set())).encode()).hexdigest()


def _described(value: Any, seen: set[int]) -> Iterator[str]:
    if isinstance(value, types.FunctionType):
        yield from _function(value, seen)
    elif isinstance(value, functools.partial):
        yield "partial"
        yield from _described((value.func, value.args, value.keywords), seen)
    elif dataclasses.is_dataclass(value) and not isinstance(value, type):
        yield type(value).__name__
        for field in dataclasses.fields(value):
            yield field.name
            yield from _described(getattr(value, field.name), seen)
    elif isinstance(value, (str, bytes, int, float, type(None))):
        yield repr(value)
    elif isinstance(value, re.Pattern):
        yield f"{value.pattern!r} {value.flags}"
    elif isinstance(value, Mapping):
        for key, inner in value.items():
            yield from _described((key, inner), seen)
    elif isinstance(value, Set):
        yield from sorted("\n".join(_described(inner, seen)) for inner in value)
    elif isinstance(value, (tuple, list)):
        yield f"{type(value).__name__} {len(value)}"
        for inner in value:
            yield from _described(inner, seen)
    else:
        kind = value if isinstance(value, type) else type(value)
        yield f"{kind.__module__}.{kind.__qualname__}"


def _function(function: types.FunctionType, seen: set[int]) -> Iterator[str]:
    yield function.__qualname__
    if id(function) in seen:
        return
    # A function that closes over itself, or two that call each other, are described once.
    seen.add(id(function))
    try:
        yield inspect.getsource(function)
    except (OSError, TypeError):  # typed at a prompt
        yield function.__code__.co_code.hex()
    yield from _described((function.__defaults__, function.__kwdefaults__), seen)
    for cell in function.__closure__ or ():
        yield from _described(cell.cell_contents, seen)
    for name in sorted(set(_names(function.__code__))):
        value = function.__globals__.get(name)
        if isinstance(value, types.FunctionType) and not _belongs(value, function):
            yield f"{value.__module__}.{value.__qualname__}"
        elif value is not None and not isinstance(value, types.ModuleType):
            yield name
            yield from _described(value, seen)


def _names(code: types.CodeType) -> Iterator[str]:
    """The names that a function reads, those of functions inside it too."""
    yield from code.co_names
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from _names(constant)


def _belongs(value: types.FunctionType, user: types.FunctionType) -> bool:
    return value.__module__.partition(".")[0] == user.__module__.partition(".")[0]
