"""Large tensors from a place of their own: whole, apart from each other, and used again. Each in a fresh process, for
torch's allocator is the process's."""

import os
import subprocess
import sys

import pytest
import torch

from ensue.core import native
from ensue.core.memory import SMALLEST, lasting_zeros
from ensue.core.native import Unavailable, load_large_blocks

needs_compiler = pytest.mark.skipif(
    sys.platform != "linux" or native._compiler() is None, reason="needs Linux and a C++ compiler"
)

START = """
import ctypes, random, torch
from ensue.core.memory import SMALLEST, keep_freed_memory, keep_large_blocks_apart
keep_freed_memory()
assert keep_large_blocks_apart()
path = next(line.split()[-1] for line in open("/proc/self/maps") if "large-blocks" in line)
def measure():
    held, opened = ctypes.c_long(), ctypes.c_long()
    ctypes.CDLL(path).measure_large_blocks(ctypes.byref(held), ctypes.byref(opened))
    return held.value, opened.value
"""

KEEP_CONTENTS = """
draw = random.Random(1)
kept = {}
for place in range(600):
    if kept and draw.random() < 0.5:
        number = draw.choice(list(kept))
        assert bool((kept.pop(number) == number).all()), "a block was written to by another"
    else:
        size = draw.choice([1, SMALLEST - 1, SMALLEST, SMALLEST + draw.randrange(8 << 20)])
        kept[place] = torch.full((size,), place, dtype=torch.int16)
        assert kept[place].data_ptr() % 64 == 0
assert all(bool((tensor == number).all()) for number, tensor in kept.items())
assert measure()[0] > 0
kept.clear()
assert measure()[0] == 0
"""

NO_GROWTH = """
def step():
    first = [torch.empty(size << 20, dtype=torch.uint8) for size in (6, 9, 3, 12)]
    second = [torch.empty(15 << 20, dtype=torch.uint8) for _ in range(2)]
    del first
    third = [torch.empty(size << 20, dtype=torch.uint8) for size in (12, 3, 9, 6)]
step()
extent = measure()[1]
for _ in range(5):
    small = [bytearray(1000) for _ in range(1000)]
    step()
assert measure()[1] == extent, "holes that meet become one, and nothing small lies in them"
assert extent < 96 << 20
"""

TOO_MUCH = """
try:
    torch.empty(1 << 60, dtype=torch.uint8)
except RuntimeError as error:
    assert "memory" in str(error)
else:
    raise AssertionError("there is no such memory")
assert torch.ones(1 << 20).sum() == 1 << 20
"""


@needs_compiler
@pytest.mark.parametrize("program", [KEEP_CONTENTS, NO_GROWTH, TOO_MUCH], ids=["contents", "growth", "too much"])
def test_large_blocks(program):
    told = subprocess.run([sys.executable, "-c", START + program], capture_output=True, text=True, env=dict(os.environ))
    assert told.returncode == 0, told.stderr


def test_without_a_compiler_there_is_a_reason(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.delenv("CXX", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(Unavailable, match="install g\\+\\+ or clang\\+\\+"):
        load_large_blocks(SMALLEST)


@pytest.mark.parametrize("shape", [(), (3,), (0, 4), (300, 700)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_lasting_zeros_are_zeros(shape, dtype):
    like = torch.ones(shape, dtype=dtype)
    zeros = lasting_zeros(like)
    assert torch.equal(zeros, torch.zeros_like(like))
    assert (zeros.shape, zeros.dtype, zeros.stride()) == (like.shape, like.dtype, like.stride())
    zeros += 1
    assert torch.equal(zeros, like)
    assert torch.equal(lasting_zeros(like), torch.zeros_like(like)), "each has its own"
