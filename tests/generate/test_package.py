"""Importing `ensue` is quick, loads no torch, and says what it has."""

import re
import subprocess
import sys

import pytest

import ensue


def test_import_loads_no_torch() -> None:
    program = (
        "import sys, time; start = time.process_time(); import ensue; import ensue.generate.resolve\n"
        "import ensue.generate.settings\n"
        "print(time.process_time() - start, sorted({'torch', 'numpy', 'transformers'} & set(sys.modules)))"
    )
    out = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60).stdout
    seconds, loaded = out.split(maxsplit=1)
    assert loaded.strip() == "[]"
    assert float(seconds) < 0.3


def test_the_names_it_has() -> None:
    assert re.match(r"\d", ensue.__version__)
    assert ensue.load.__module__ == "ensue.generate.load"
    assert ensue.LM.__module__ == "ensue.generate.lm"
    assert set(ensue.__all__) <= set(dir(ensue))
    with pytest.raises(AttributeError, match="lod"):
        ensue.lod  # noqa: B018
