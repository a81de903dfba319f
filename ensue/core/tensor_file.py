"""Safetensors files written without stalling who trains: no copy but one, and a checksum from the same pass.

The `safetensors` library reads them. It is not used to write them, since it would hold the interpreter and a second
copy of everything meanwhile.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import torch
from torch import Tensor

DTYPES = {
    torch.float64: "F64",
    torch.float32: "F32",
    torch.float16: "F16",
    torch.bfloat16: "BF16",
    torch.int64: "I64",
    torch.int32: "I32",
    torch.int16: "I16",
    torch.int8: "I8",
    torch.uint8: "U8",
    torch.bool: "BOOL",
}
"""The format's names for them."""

ALIGNMENT = 4096
"""Bytes: what writes past the system's page cache must start at and be a multiple of."""

PIECE = 16 << 20
"""Bytes a write: large enough to cost nothing, small enough to be told soon that the disk is full."""

MARK_LENGTH = 12
"""Hex digits kept of each tensor's mark."""


@dataclass(frozen=True)
class FileDigest:
    """The SHA-256 of a whole file, and for each tensor in it a mark: the start of the SHA-256 of the file up to there.

    Two files of the same tensors first differ in the tensor whose mark is the first to differ.
    """

    sha256: str
    marks: tuple[str, ...]


def write_tensors(path: Path, tensors: Mapping[str, Tensor]) -> FileDigest:
    """Write `tensors` as they are now, one after another; the plain twin of `TensorImage`, and as good where there is
    no memory for a second copy. Raises OSError where it cannot be written."""
    header = _header(tensors)
    digest = _Digest(header)
    with path.open("wb") as file:
        file.write(header)
        for name in names_in_order(tensors):
            flat = _bytes(tensors[name].detach().cpu().contiguous())
            file.write(flat)
            digest.add(flat)
    return digest.result()


def digest_of_tensors(tensors: Mapping[str, Tensor]) -> FileDigest:
    """The digest of the file that `write_tensors` would write."""
    digest = _Digest(_header(tensors))
    for name in names_in_order(tensors):
        digest.add(_bytes(tensors[name].detach().cpu().contiguous()))
    return digest.result()


def digest_of(path: Path) -> FileDigest:
    """The digest of a file that is there, as `write_tensors` gave it."""
    with path.open("rb") as file:
        header = _read_header(file)
        digest = _Digest(header)
        for _, (start, stop) in _places(header):
            digest.add(memoryview(file.read(stop - start)))
    return digest.result()


def names_in_order(tensors: Mapping[str, Tensor]) -> list[str]:
    """The names in the order in which they are stored: larger elements first, so that each stands where it may, then by
    name, so that the same tensors make the same file in whatever order they are given."""
    return sorted(tensors, key=lambda name: (-tensors[name].element_size(), name))


def tensor_names(path: Path) -> list[str]:
    """The names of the tensors in a file, in the order they are stored in."""
    with path.open("rb") as file:
        return [name for name, _ in _places(_read_header(file))]


class TensorImage:
    """The bytes of one tensor file in memory of this process, taken again and again from the same tensors."""

    def __init__(self, tensors: Mapping[str, Tensor]) -> None:
        """Room for these tensors, in locked memory if any of them is on a GPU. Nothing is copied yet."""
        self._header = _header(tensors)
        self._size = len(self._header) + sum(_size(tensor) for tensor in tensors.values())
        pinned = any(tensor.is_cuda for tensor in tensors.values())
        room = torch.empty(self._size + ALIGNMENT, dtype=torch.uint8, pin_memory=pinned)
        self._image = room[-room.data_ptr() % ALIGNMENT :][: self._size]
        self._image[: len(self._header)] = torch.frombuffer(bytearray(self._header), dtype=torch.uint8)
        self._views = dict(self._place(tensors))

    def fits(self, tensors: Mapping[str, Tensor]) -> bool:
        """Whether `take` has room for exactly these."""
        return self._header == _header(tensors)

    @torch.no_grad()
    def take(self, tensors: Mapping[str, Tensor]) -> None:
        """Copy the tensors as they are now. On a GPU the copy is on its way when this returns: synchronise."""
        for name, view in self._views.items():
            view.copy_(tensors[name], non_blocking=True)

    def write(self, path: Path) -> FileDigest:
        """Write the file. Nothing here holds the interpreter for long. Raises OSError where it cannot be written."""
        whole = self._image.numpy().data
        digest = _Digest(self._header)
        for _, (start, stop) in _places(self._header):
            digest.add(whole[len(self._header) + start : len(self._header) + stop])
        write_past_cache(path, whole)
        return digest.result()

    def _place(self, tensors: Mapping[str, Tensor]) -> Iterator[tuple[str, Tensor]]:
        for name, (start, stop) in _places(self._header):
            part = self._image[len(self._header) + start : len(self._header) + stop]
            yield name, part.view(tensors[name].dtype).view(tensors[name].shape)


def write_past_cache(path: Path, data: memoryview) -> None:
    """Write `data`, which begins at a multiple of `ALIGNMENT`, straight to the disk where the system can.

    Through the page cache the same bytes cost the processor tens of times more (0.7 s against 0.02 s for 512 MB), and
    push out what others have cached. Raises OSError where there is no room.
    """
    direct: int = getattr(os, "O_DIRECT", 0)
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC
    try:
        descriptor = os.open(path, flags | direct, 0o666)
    except OSError as error:
        if error.errno != errno.EINVAL:  # a file system without it
            raise
        direct, descriptor = 0, os.open(path, flags, 0o666)
    try:
        place = 0
        while place < len(data):
            piece = data[place : place + PIECE]
            if direct and len(piece) % ALIGNMENT:
                piece = piece[: len(piece) // ALIGNMENT * ALIGNMENT]
            try:
                written = os.write(descriptor, piece) if len(piece) else 0
            except OSError as error:
                if not direct or error.errno != errno.EINVAL:
                    raise
                written = 0
            if direct and (written == 0 or written % ALIGNMENT):
                direct = _through_cache(descriptor)
            place += written
    except OSError as error:
        error.filename = str(path)
        raise
    finally:
        os.close(descriptor)


def _through_cache(descriptor: int) -> int:
    """Let what is left, the file's last part as a rule, go the usual way."""
    flags = fcntl.fcntl(descriptor, fcntl.F_GETFL)
    fcntl.fcntl(descriptor, fcntl.F_SETFL, flags & ~getattr(os, "O_DIRECT", 0))
    return 0


class _Digest:
    """SHA-256 of what goes by, with a mark after each tensor."""

    def __init__(self, header: bytes) -> None:
        self._sha256 = hashlib.sha256(header)
        self._marks: list[str] = []

    def add(self, tensor: memoryview) -> None:
        self._sha256.update(tensor)
        self._marks.append(self._sha256.copy().hexdigest()[:MARK_LENGTH])

    def result(self) -> FileDigest:
        return FileDigest(self._sha256.hexdigest(), tuple(self._marks))


def _header(tensors: Mapping[str, Tensor]) -> bytes:
    """The format's header: 8 bytes of length, then JSON, filled up with spaces so that the tensors begin aligned."""
    entries: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    place = 0
    for name in names_in_order(tensors):
        tensor = tensors[name]
        if tensor.dtype not in DTYPES:
            raise ValueError(f"{name} is of type {tensor.dtype}, which a checkpoint does not hold; use float32.")
        stop = place + _size(tensor)
        shape = list(tensor.shape)
        entries[name] = {"dtype": DTYPES[tensor.dtype], "shape": shape, "data_offsets": [place, stop]}
        place = stop
    text = json.dumps(entries, separators=(",", ":")).encode()
    text += b" " * (-(8 + len(text)) % 64)
    return len(text).to_bytes(8, "little") + text


def _read_header(file: BinaryIO) -> bytes:
    prefix = file.read(8)
    return prefix + file.read(int.from_bytes(prefix, "little"))


def _places(header: bytes) -> Iterable[tuple[str, tuple[int, int]]]:
    """Each tensor's name and its first and last byte after the header, in the order of the file."""
    entries = json.loads(header[8:])
    entries.pop("__metadata__", None)
    places = {name: (entry["data_offsets"][0], entry["data_offsets"][1]) for name, entry in entries.items()}
    return sorted(places.items(), key=lambda item: item[1])


def _size(tensor: Tensor) -> int:
    return tensor.numel() * tensor.element_size()


def _bytes(tensor: Tensor) -> memoryview:
    """The memory of a contiguous tensor on the CPU."""
    return tensor.reshape(-1).view(torch.uint8).numpy().data
