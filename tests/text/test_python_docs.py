"""The documentation of this very Python, read from its source and compared with what `inspect` says at run time."""

from __future__ import annotations

import ast
import inspect
import subprocess
import sys
from pathlib import Path

import networkx
import pytest

from ensue.text.docstrings import entries_of, prose
from ensue.text.document import Document
from ensue.text.python_docs import SHORTEST_REPEAT, documentation_held_out, python_documentation


@pytest.fixture(scope="module")
def networkx_documents() -> list[Document]:
    return python_documentation(libraries=["networkx"], workers=1)


def test_it_says_what_the_imported_module_says(networkx_documents: list[Document]) -> None:
    by_source = {document.source: document for document in networkx_documents}
    text = by_source["python:networkx/algorithms/cluster.py"].text
    summary = inspect.getdoc(networkx.triangles).split("\n\n")[0]  # type: ignore[union-attr]
    assert f"\n\ntriangles(G, nodes=None)\n\n{summary}\n\n" in text
    assert "class Graph\n\n" in by_source["python:networkx/classes/graph.py"].text
    assert ">>>" not in text
    assert by_source["python:networkx/algorithms/cluster.py"].meta == {"library": "networkx"}
    assert sum(len(document.text) for document in networkx_documents) > 1_000_000
    assert "networkx/algorithms/tests" not in " ".join(by_source)


def test_two_processes_find_what_one_finds(networkx_documents: list[Document]) -> None:
    told: list[tuple[int, int]] = []
    found = python_documentation(
        libraries=["networkx"], workers=2, on_file=lambda done, total: told.append((done, total))
    )
    assert found == networkx_documents
    assert told[-1][0] == told[-1][1]
    assert told == sorted(told)


def test_it_works_in_a_script_without_a_guard(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        "from ensue.text.python_docs import python_documentation\n"
        "print(len(python_documentation(libraries=['numpy'], workers=2)))\n"
    )
    ran = subprocess.run([sys.executable, script], capture_output=True, text=True, check=False, timeout=120)
    assert int(ran.stdout.split()[-1]) > 50


def test_no_docstring_comes_twice(networkx_documents: list[Document]) -> None:
    entries = [entry for document in networkx_documents for entry in document.text.split("\n\n\n")]
    bodies = [entry.partition("\n\n")[2].strip() for entry in entries]
    assert len(bodies) == len(set(bodies))


def test_no_longer_paragraph_comes_twice(networkx_documents: list[Document]) -> None:
    paragraphs = [
        " ".join(paragraph.split())
        for document in networkx_documents
        for entry in document.text.split("\n\n\n")
        for paragraph in entry.split("\n\n")[1:]
    ]
    longer = [paragraph for paragraph in paragraphs if len(paragraph) >= SHORTEST_REPEAT]
    assert len(longer) == len(set(longer))
    assert len(paragraphs) > len(set(paragraphs))  # titles may come again


def write(tmp_path: Path, source: str) -> Path:
    path = tmp_path / "sample.py"
    path.write_text(source, encoding="utf-8")
    return path


def test_headings_and_nesting(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        '''"""What this sample module is for."""
if True:
    class Outer(Base, key=3):
        """An outer class of some length."""
        async def run(self, a: int, /, b: str = "x", *args: int, c, d=None, **rest) -> None:
            """Run it, however long it takes."""
def short():
    """Too short."""
add_docstr(Outer.fast, r"""
fast(x) -> int

Sums in {{curly}} brackets. {common}
""".format(**common))
add_newdoc("numpy", "thing", ("method", """Described from outside the class."""))
''',
    )
    assert entries_of(path, "sample") == [
        ("sample", "What this sample module is for."),
        ("class Outer(Base)", "An outer class of some length."),
        ("run(self, a, /, b='x', *args, c, d=None, **rest)", "Run it, however long it takes."),
        ("fast", "fast(x) -> int\n\nSums in {curly} brackets."),
        ("method", "Described from outside the class."),
    ]


@pytest.mark.parametrize("source", ['"""never closed', 'x = """\0"""', "def f(:\n  '''doc'''"])
def test_a_file_that_does_not_parse_is_passed_over(tmp_path: Path, source: str) -> None:
    with pytest.raises((SyntaxError, ValueError)):
        ast.parse(source)
    assert entries_of(write(tmp_path, source), "sample") == []


def test_prose_leaves_examples_and_number_tables_out() -> None:
    text = (
        """Add two numbers.

Examples
--------
>>> add(1, 2)
3

>>> add(2, 2)
4

Notes
-----
The sum is exact.   
For instance:
>>> add(0, 0)
0

Examples:

>>> add(5, 5)

"""
        + "0x7f 0x1b 0x00 " * 40
    )
    assert prose(text) == "Add two numbers.\n\nNotes\n-----\nThe sum is exact.\nFor instance:"


def test_whole_libraries_are_held_out() -> None:
    documents = [
        Document.of("x" * size, f"python:{library}/{part}.py", {"library": library})
        for library, size in [("giant", 40_000), *((f"small{number}", 500) for number in range(40))]
        for part in range(2)
    ]
    train, held_out = documentation_held_out(documents)
    libraries = {document.meta["library"] for document in held_out}
    assert libraries.isdisjoint(document.meta["library"] for document in train)
    assert "giant" not in libraries
    assert sorted(d.id for d in train + held_out) == sorted(d.id for d in documents)
    assert 0.04 <= sum(len(d.text) for d in held_out) / sum(len(d.text) for d in documents) <= 0.0625


def test_an_absent_library_is_an_error() -> None:
    with pytest.raises(ValueError, match="give your own text"):
        python_documentation(libraries=["no_such_library"], workers=1)
