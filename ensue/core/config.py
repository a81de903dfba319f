"""Typed configs as frozen dataclasses: to JSON and back, refusing what they do not know.

A misspelt or ill-typed key is an error that names the nearest right one; it never silently becomes a default.
"""

from __future__ import annotations

import dataclasses
import difflib
import types
import typing
from collections.abc import Mapping
from typing import Any, Literal, TypeVar, Union, get_args, get_origin

T = TypeVar("T")


def to_dict(config: Any) -> Any:
    """A config as plain JSON values. A dataclass carries its class name as `kind`, so unions of them can be read back.

    One that has a field of its own called `kind` carries that instead, and cannot be told apart in a union.
    """
    if dataclasses.is_dataclass(config) and not isinstance(config, type):
        fields = {field.name: to_dict(getattr(config, field.name)) for field in dataclasses.fields(config)}
        return {"kind": type(config).__name__, **fields}
    if isinstance(config, (tuple, list)):
        return [to_dict(item) for item in config]
    if isinstance(config, Mapping):
        return {key: to_dict(value) for key, value in config.items()}
    return config


def from_dict(cls: type[T], data: Mapping[str, Any], where: str = "") -> T:
    """Build the dataclass `cls` from what `to_dict` gave.

    Raises ValueError for a key it does not have (naming the nearest one), a missing key without a default, a value of
    another type, or the record of another dataclass; `where` is the dotted path shown in the message.
    """
    place = f"{where}: " if where else ""
    if not isinstance(data, Mapping):
        raise ValueError(f"{place}expected the fields of {cls.__name__}, got {data!r}.")
    hints = typing.get_type_hints(cls)
    fields = {field.name: field for field in dataclasses.fields(cls)}  # type: ignore[arg-type]
    values = {}
    for key, value in data.items():
        if key == "kind" and key not in fields:
            if value != cls.__name__:
                raise ValueError(f"{place}expected the fields of {cls.__name__}, got those of {value!r}.")
            continue
        if key not in fields:
            raise ValueError(f"{place}{cls.__name__} has no field {key!r}{suggest(key, fields)}")
        values[key] = _read(hints[key], value, f"{where}.{key}" if where else key)
    for name, field in fields.items():
        required = field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
        if required and name not in values:
            raise ValueError(f"{place}{cls.__name__} needs the field {name!r}.")
    return cls(**values)


def suggest(name: str, known: typing.Iterable[str]) -> str:
    """The end of a sentence about an unknown name: the nearest known one, or all of them."""
    names = list(known)
    close = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
    return f"; did you mean {close[0]!r}?" if close else f"; it has: {', '.join(names)}."


def _read(hint: Any, value: Any, where: str) -> Any:
    origin, arguments = get_origin(hint), get_args(hint)
    if origin in (Union, types.UnionType):
        return _read_union(arguments, value, where)
    if origin is Literal:
        if value not in arguments:
            raise ValueError(f"{where}: {value!r} is not one of {', '.join(map(repr, arguments))}.")
        return value
    if origin is tuple:
        if not isinstance(value, (list, tuple)):
            raise ValueError(f"{where}: expected a list, got {value!r}.")
        if len(arguments) == 2 and arguments[1] is Ellipsis:
            return tuple(_read(arguments[0], item, f"{where}[{index}]") for index, item in enumerate(value))
        if len(value) != len(arguments):
            raise ValueError(f"{where}: expected {len(arguments)} values, got {len(value)}.")
        pairs = enumerate(zip(arguments, value, strict=True))
        return tuple(_read(kind, item, f"{where}[{index}]") for index, (kind, item) in pairs)
    if _is_config(hint):
        return from_dict(hint, value, where)
    return _read_plain(hint, value, where)


def _read_union(options: tuple[Any, ...], value: Any, where: str) -> Any:
    if value is None and type(None) in options:
        return None
    classes = {option.__name__: option for option in options if _is_config(option)}
    if isinstance(value, Mapping) and classes:
        kind = next(iter(classes)) if len(classes) == 1 else str(value.get("kind"))
        if kind not in classes:
            raise ValueError(f"{where}: unknown kind {kind!r}{suggest(kind, classes)}")
        return from_dict(classes[kind], value, where)
    for option in options:
        if option is type(None) or _is_config(option):
            continue
        try:
            return _read(option, value, where)
        except ValueError:
            continue
    names = ["null" if option is type(None) else getattr(option, "__name__", str(option)) for option in options]
    raise ValueError(f"{where}: expected {' or '.join(names)}, got {value!r}.")


def _is_config(hint: Any) -> bool:
    return isinstance(hint, type) and dataclasses.is_dataclass(hint)


def _read_plain(hint: Any, value: Any, where: str) -> Any:
    if hint is Any:
        return value
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if hint is int and isinstance(value, bool):
        raise ValueError(f"{where}: expected int, got {value!r}.")
    if not isinstance(value, hint):
        raise ValueError(f"{where}: expected {hint.__name__}, got {value!r}.")
    return value
