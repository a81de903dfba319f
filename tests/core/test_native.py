import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from ensue.core import native
from ensue.core.native import Unavailable, load_kernels, usable_kernels

needs_processor = pytest.mark.skipif(
    not set(native.NEEDED) <= native._processor_flags(), reason="the kernels need AVX-512 with bf16 products"
)


@pytest.fixture
def empty_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "ensue"


@needs_processor
def test_built_once_and_then_only_loaded(empty_cache, monkeypatch):
    load_kernels()
    (built,) = empty_cache.iterdir()
    before = built.stat().st_mtime_ns
    monkeypatch.setenv("CXX", "/no/such/compiler")
    load_kernels()
    assert [built] == list(empty_cache.iterdir())
    assert built.stat().st_mtime_ns == before


@needs_processor
@pytest.mark.parametrize("compiler", ["/no/such/compiler", "false"])
def test_a_compiler_that_fails_is_a_reason_and_leaves_nothing(empty_cache, monkeypatch, compiler):
    monkeypatch.setenv("CXX", compiler)
    with pytest.raises(Unavailable):
        load_kernels()
    assert list(empty_cache.iterdir()) == []


@needs_processor
def test_no_compiler_says_what_to_install(empty_cache, monkeypatch):
    monkeypatch.delenv("CXX", raising=False)
    monkeypatch.setenv("PATH", str(empty_cache))
    with pytest.raises(Unavailable, match="install g\\+\\+ or clang\\+\\+"):
        load_kernels()


@needs_processor
def test_a_damaged_library_is_a_reason(empty_cache):
    load_kernels()
    (built,) = empty_cache.iterdir()
    # A fresh process: this one holds the library it has loaded.
    built.unlink()
    built.write_bytes(b"no library")
    program = "from ensue.core.native import kernels; print(kernels())"
    told = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, env=dict(os.environ))
    assert told.stdout.strip() == "None", told.stderr


def test_off_by_the_environment(monkeypatch):
    monkeypatch.setenv("ENSUE_KERNELS", "off")
    with pytest.raises(Unavailable, match="ENSUE_KERNELS"):
        load_kernels()


def test_a_processor_without_bf16_products_is_named(monkeypatch):
    monkeypatch.delenv("ENSUE_KERNELS", raising=False)
    monkeypatch.setattr(native, "_processor_flags", lambda: frozenset({"avx2", "fma"}))
    with pytest.raises(Unavailable, match="avx512_bf16"):
        load_kernels()


def test_only_bf16_passes_use_them():
    assert usable_kernels(torch.device("cpu")) is None
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert usable_kernels(torch.device("cpu")) is native.kernels()
        assert usable_kernels(torch.device("meta")) is None


def test_every_source_is_in_the_list():
    folder = Path(native.__file__).parent / "kernels"
    assert {path.name for path in folder.iterdir()} == {
        *(name for library in (native.TRAINING, native.INFERENCE) for name in (*library.sources, *library.headers)),
        native.LARGE_BLOCKS,
    }
