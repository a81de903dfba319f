"""The documentation written inside one Python source file, read from its syntax tree without importing it."""

from __future__ import annotations

import ast
import inspect
import re
import warnings
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

SHORTEST = 20
LONGEST_HEADING = 160
# torch and numpy document their C functions by calls, such as add_docstr(torch.abs, "...").
_DOCUMENTING_CALLS = frozenset({"add_docstr", "add_docstr_all", "add_newdoc"})
_BLANK_LINES = re.compile(r"\n\s*\n")
_BARE_TITLE = re.compile(
    r"\s*(?:[^\n]{1,40}\n\s*[-=~^*]{3,}|Examples?:{0,2}|\.\. (?:doctest|plot|code-block)::[^\n]*(?:\n +:.*)*)"
)
_PLACEHOLDER = re.compile(r"(?<!\{)\{\w+\}(?!\})")

_Function = ast.FunctionDef | ast.AsyncFunctionDef


class Entry(NamedTuple):
    """One documented object: its heading as in `help()`, such as `triangles(G, nodes=None)`, and its documentation.

    The path to an object, `networkx.algorithms.cluster.`, would stand again over every function of a module, and is no
    language; the module's own entry, if it has one, is headed by the path.
    """

    heading: str
    text: str


def entries_of(path: Path, module: str) -> list[Entry]:
    """The documented objects of a source file, in file order; none for a file that this Python cannot parse."""
    try:
        source = path.read_bytes()
        if b'"""' not in source and b"'''" not in source:
            return []  # parsing is what takes the time, and such a file has next to nothing to read
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            tree = ast.parse(source)
    except (OSError, SyntaxError, ValueError, RecursionError, MemoryError):
        return []
    found = _topics(tree) if module == "pydoc_data.topics" else _documented(tree, module)
    entries = (Entry(heading, prose(text)) for heading, text in found)
    return [entry for entry in entries if len(entry.text) >= SHORTEST]


def _documented(tree: ast.Module, module: str) -> Iterator[tuple[str, str]]:
    text = ast.get_docstring(tree)
    if text:
        yield module, text
    yield from _in_body(tree.body)


def _in_body(body: Iterable[ast.stmt]) -> Iterator[tuple[str, str]]:
    for node in body:
        if isinstance(node, ast.ClassDef):
            if text := ast.get_docstring(node):
                bases = ", ".join(map(ast.unparse, node.bases))
                yield _heading(f"class {node.name}", bases if bases else None), text
            yield from _in_body(node.body)
        elif isinstance(node, _Function):
            if text := ast.get_docstring(node):
                yield _heading(node.name, _arguments(node.args)), text
        elif isinstance(node, ast.Expr):
            yield from _in_call(node.value)
        elif isinstance(node, ast.If):
            yield from _in_body([*node.body, *node.orelse])
        elif isinstance(node, ast.Try):
            handled = [statement for handler in node.handlers for statement in handler.body]
            yield from _in_body([*node.body, *handled, *node.orelse])


def _in_call(node: ast.expr) -> Iterator[tuple[str, str]]:
    """The documentation handed to add_docstr and its like."""
    if not isinstance(node, ast.Call) or len(node.args) < 2:
        return
    function = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
    if function not in _DOCUMENTING_CALLS:
        return
    *named, documentation = node.args
    names = [item.value if isinstance(item, ast.Constant) else ast.unparse(item) for item in named]
    if isinstance(documentation, ast.Tuple) and len(documentation.elts) == 2:  # ("method", "documentation")
        method, documentation = documentation.elts
        names.append(method.value if isinstance(method, ast.Constant) else "")
    text = _constant_text(documentation)
    if text:
        yield str(names[-1]).rpartition(".")[2], inspect.cleandoc(text)


def _constant_text(node: ast.expr) -> str:
    if isinstance(node, ast.Constant):
        return node.value if isinstance(node.value, str) else ""
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        return _constant_text(node.left) + _constant_text(node.right)
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "format":
        # Shared descriptions of arguments are filled in at run time; they stand in full elsewhere.
        return _PLACEHOLDER.sub("", _constant_text(node.func.value)).replace("{{", "{").replace("}}", "}")
    return ""


def _topics(tree: ast.Module) -> Iterator[tuple[str, str]]:
    """The chapters of the language reference, in the dictionary `topics` that `help()` reads."""
    for node in tree.body:
        value = node.value if isinstance(node, (ast.Assign, ast.AnnAssign)) else None
        if isinstance(value, ast.Dict):
            for key, text in zip(value.keys, value.values, strict=True):
                if key is not None:
                    yield f"help({ast.unparse(key)})", inspect.cleandoc(_constant_text(text))


def _heading(name: str, arguments: str | None) -> str:
    heading = name if arguments is None else f"{name}({arguments})"
    return heading if len(heading) <= LONGEST_HEADING else f"{name}(...)"


def _arguments(arguments: ast.arguments) -> str:
    """Arguments as they are written, without the type annotations."""
    plain = [*arguments.posonlyargs, *arguments.args]
    defaults: list[ast.expr | None] = [None] * (len(plain) - len(arguments.defaults)) + list(arguments.defaults)
    parts = [_argument(argument, default) for argument, default in zip(plain, defaults, strict=True)]
    if arguments.posonlyargs:
        parts.insert(len(arguments.posonlyargs), "/")
    if arguments.vararg:
        parts.append(f"*{arguments.vararg.arg}")
    elif arguments.kwonlyargs:
        parts.append("*")
    parts += [
        _argument(item, default) for item, default in zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True)
    ]
    if arguments.kwarg:
        parts.append(f"**{arguments.kwarg.arg}")
    return ", ".join(parts)


def _argument(argument: ast.arg, default: ast.expr | None) -> str:
    return argument.arg if default is None else f"{argument.arg}={ast.unparse(default)}"


def prose(text: str) -> str:
    """A docstring as something to read: without interactive examples, tables of numbers and the titles left over them.

    Examples are about a seventh of all docstrings, half of them printed formulas and arrays; a small model spends on
    them what it could have learned of English.
    """
    kept: list[str] = []
    for paragraph in _BLANK_LINES.split(text):
        lines = [line.rstrip() for line in paragraph.splitlines()]
        example = next((number for number, line in enumerate(lines) if line.lstrip().startswith(">>>")), len(lines))
        before = "\n".join(lines[:example]).strip("\n")
        if before.strip() and _reads_as_language(before):
            kept.append(before)
        if example < len(lines):
            while kept and _BARE_TITLE.fullmatch(kept[-1]):
                kept.pop()
    return "\n\n".join(kept).strip()


def _reads_as_language(paragraph: str) -> bool:
    letters = sum(character.isalpha() or character == " " for character in paragraph)
    return len(paragraph) < 200 or letters >= 0.65 * len(paragraph)
