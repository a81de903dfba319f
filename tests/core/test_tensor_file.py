"""Tensor files: what the safetensors library reads, whichever way they were written, and marks that name a tensor."""

import errno
import json
import os
import resource
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors import safe_open
from safetensors.torch import load_file

from ensue.core import tensor_file
from ensue.core.files import sha256_of
from ensue.core.tensor_file import (
    ALIGNMENT,
    DTYPES,
    TensorImage,
    digest_of,
    digest_of_tensors,
    names_in_order,
    tensor_names,
    write_past_cache,
    write_tensors,
)


def some_tensors(seed=0):
    """Every type, no dimension, no element, views that are not contiguous, and sizes that fit no block."""
    torch.manual_seed(seed)
    drawn = {str(dtype): (torch.randn(3, 7) * 50).to(dtype) for dtype in DTYPES}
    other = torch.randn(40, 30)
    views = {"t": other.t(), "part": other[3:9], "narrow": other[:, 4:5], "big": torch.randn(70, 1001).bfloat16().t()}
    rest = {"scalar": torch.tensor(2.5), "none": torch.zeros(0, 4), "parameter": torch.nn.Linear(3, 2).weight}
    return {**drawn, **views, **rest}


def same(found, tensors):
    assert found.keys() == tensors.keys()
    for name, tensor in tensors.items():
        assert found[name].dtype == tensor.dtype, name
        assert torch.equal(found[name], tensor), name


def test_both_ways_write_the_same_file_and_the_library_reads_it(tmp_path):
    tensors = some_tensors()
    plain = write_tensors(tmp_path / "plain", tensors)
    image = TensorImage(tensors)
    image.take(tensors)
    assert image.write(tmp_path / "image") == plain
    assert (tmp_path / "plain").read_bytes() == (tmp_path / "image").read_bytes()
    same(load_file(tmp_path / "image"), tensors)
    with safe_open(tmp_path / "image", framework="pt") as file:
        assert file.metadata() == {"format": "pt"}
    assert plain.sha256 == sha256_of(tmp_path / "image")
    assert digest_of(tmp_path / "image") == digest_of_tensors(tensors) == plain
    assert tensor_names(tmp_path / "image") == names_in_order(tensors)
    assert set(names_in_order(tensors)) == set(tensors)
    assert digest_of_tensors(dict(reversed(tensors.items()))) == plain, "in whatever order they come"


def test_an_image_is_of_the_moment_it_was_taken_and_is_used_again(tmp_path):
    first = {"a": torch.randn(300, 300), "b": torch.randn(7)}
    kept = {name: tensor.clone() for name, tensor in first.items()}
    image = TensorImage(first)
    image.take(first)
    for tensor in first.values():
        tensor.zero_()
    image.write(tmp_path / "one")
    same(load_file(tmp_path / "one"), kept)
    image.take(first)
    image.write(tmp_path / "two")
    same(load_file(tmp_path / "two"), first)


def test_what_an_image_has_room_for():
    tensors = {"a": torch.randn(3, 4), "b": torch.randn(2)}
    image = TensorImage(tensors)
    assert image.fits({name: tensor + 1 for name, tensor in tensors.items()})
    for other in (
        {"a": tensors["a"]},
        {**tensors, "b": torch.randn(3)},
        {**tensors, "b": tensors["b"].bfloat16()},
        {**tensors, "c": torch.zeros(1)},
    ):
        assert not image.fits(other)


def test_a_type_that_the_format_lacks_is_refused_by_name():
    with pytest.raises(ValueError, match=r"odd is of type torch\.complex64"):
        TensorImage({"odd": torch.zeros(2, dtype=torch.complex64)})


@settings(max_examples=40)
@given(st.data())
def test_the_first_mark_that_differs_is_the_first_tensor_that_differs(tmp_path_factory, data):
    tensors = {str(number): torch.randn(data.draw(st.integers(1, 9))) for number in range(6)}
    before = digest_of_tensors(tensors).marks
    changed = data.draw(st.sets(st.sampled_from(sorted(tensors)), min_size=1))
    for name in changed:
        bits = tensors[name].view(torch.int32)
        bits[data.draw(st.integers(0, len(bits) - 1))] ^= 1 << data.draw(st.integers(0, 30))
    after = digest_of_tensors(tensors).marks
    names = [name for name, one, other in zip(tensors, before, after, strict=True) if one != other]
    assert names[0] == min(changed)
    assert len(names) == 6 - int(min(changed)), "and all behind it, since a mark is of all up to there"


def aligned(size):
    room = torch.empty(size + ALIGNMENT, dtype=torch.uint8).random_(0, 255)
    return room[-room.data_ptr() % ALIGNMENT :][:size].numpy().data


@pytest.mark.parametrize("size", [0, 1, ALIGNMENT - 1, ALIGNMENT, 3 * ALIGNMENT + 5, (1 << 20) + 17])
@pytest.mark.parametrize("place", ["disk", "memory", "no direct writes at all"])
def test_any_size_arrives_whole_on_any_file_system(tmp_path, monkeypatch, size, place):
    monkeypatch.setattr(tensor_file, "PIECE", 64 << 10)
    if place == "no direct writes at all":
        monkeypatch.delattr(os, "O_DIRECT", raising=False)
    folder = tmp_path if place != "memory" else Path("/dev/shm")
    if not folder.is_dir():
        pytest.skip("this machine has no file system in memory")
    path = folder / f"ensue-test-{os.getpid()}"
    data = aligned(size)
    try:
        write_past_cache(path, data)
        assert path.read_bytes() == bytes(data)
        write_past_cache(path, data[: size // 2 // ALIGNMENT * ALIGNMENT])
        assert path.read_bytes() == bytes(data[: size // 2 // ALIGNMENT * ALIGNMENT]), "an older file is replaced"
    finally:
        path.unlink()


@contextmanager
def files_no_larger_than(size):
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize("limit", [ALIGNMENT, 10_000, 10 * ALIGNMENT - 1])
def test_a_file_that_cannot_grow_is_named(tmp_path, limit):
    with files_no_larger_than(limit), pytest.raises(OSError, match=str(tmp_path)) as caught:
        write_past_cache(tmp_path / "file", aligned(10 * ALIGNMENT))
    assert caught.value.errno == errno.EFBIG


def test_the_header_is_the_formats(tmp_path):
    """8 bytes of length, JSON, then the tensors at the offsets it names, aligned."""
    write_tensors(tmp_path / "file", {"a": torch.tensor([1.0, 2.0]), "b": torch.tensor([[3]])})
    raw = (tmp_path / "file").read_bytes()
    length = int.from_bytes(raw[:8], "little")
    header = json.loads(raw[8 : 8 + length])
    assert header["b"] == {"dtype": "I64", "shape": [1, 1], "data_offsets": [0, 8]}
    assert header["a"] == {"dtype": "F32", "shape": [2], "data_offsets": [8, 16]}
    assert (8 + length) % 8 == 0
    assert raw[8 + length :] == torch.tensor([3]).numpy().tobytes() + torch.tensor([1.0, 2.0]).numpy().tobytes()
