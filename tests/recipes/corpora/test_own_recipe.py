"""A recipe of one's own: a Python file with a list of steps, and what is said of a file that is none."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from ensue.recipes.corpora.recipes import Choices, steps_of
from ensue.recipes.corpora.steps import C4Rules, Extract, NearDuplicates, __all__
from ensue.text.curation.curate import PLAN

IMPORT = "from ensue.recipes.corpora.steps import *\n"


def written(folder: Path, text: str) -> str:
    path = folder / "mine.py"
    path.write_text(text, encoding="utf-8")
    return str(path)


def test_the_list_of_a_file(tmp_path: Path) -> None:
    path = written(
        tmp_path, IMPORT + "few = 5\nsteps = [Extract(), C4Rules(sentences=few), NearDuplicates(bands=20, rows=5)]"
    )
    assert steps_of(path, Choices(seed=3)) == [Extract(), C4Rules(sentences=5), NearDuplicates(bands=20, rows=5)]


def test_the_recipe_in_the_documentation(tmp_path: Path) -> None:
    page = Path(__file__).resolve().parents[3] / "docs" / "corpus.md"
    (code,) = re.findall(r"```python\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)
    assert next(type(step).__name__ for step in steps_of(written(tmp_path, code), Choices())) == "Extract"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "no list named steps"),
        ("steps = []", "no list named steps"),
        (IMPORT + "steps = [C4Rules]", "is no step"),
        ("steps = ['C4Rules']", "is no step"),
        ("1 / 0", "ZeroDivisionError"),
        ("steps = [", "SyntaxError"),
        ("class Mine:\n    def prepare(self): ...\nsteps = [Mine()]", "workers cannot import Mine"),
    ],
)
def test_a_file_that_is_no_recipe(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        steps_of(written(tmp_path, text), Choices())


def test_options_are_for_the_recipes_that_are_there(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="says itself"):
        steps_of(written(tmp_path, IMPORT + "steps = [Extract()]"), Choices(alpha=1.0))
    with pytest.raises(ValueError, match="there is no recipe"):
        steps_of(str(tmp_path / "none.py"), Choices())
    with pytest.raises(ValueError, match=r"a file of your own ends in \.py"):
        steps_of("mine", Choices())


def test_from_the_command_line(tmp_path: Path) -> None:
    (tmp_path / "texts").mkdir()
    (tmp_path / "texts" / "a.txt").write_text("One sentence. And two. And three of them in all.", encoding="utf-8")
    (tmp_path / "texts" / "b.txt").write_text("short", encoding="utf-8")
    recipe = written(tmp_path, IMPORT + "steps = [Length(least_characters=20), C4Rules(line_words=2)]")
    command = [sys.executable, "-m", "ensue.cli", "curate", str(tmp_path / "texts"), "--recipe", recipe]
    done = subprocess.run(
        [*command, "--no-tokens", "--out", str(tmp_path / "corpus")], capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    plan = json.loads((tmp_path / "corpus" / PLAN).read_text(encoding="utf-8"))
    assert [step["kind"] for step in plan["steps"]] == ["Length", "C4Rules"]
    assert json.loads((tmp_path / "corpus" / "corpus.json").read_text(encoding="utf-8"))["documents"] == 1


def test_every_step_is_there() -> None:
    """Whatever a built-in recipe uses can be written in one's own."""
    built_in = [
        step
        for name in ("own", "gpt3", "books", "webtext")
        for step in steps_of(
            name, Choices(("en",), Path("links.csv"), (Path("good"),), against=(Path("tests"),), personal=True)
        )
    ]
    assert {type(step).__name__ for step in built_in} <= set(__all__)
