"""The C++ kernels in `kernels/`: built once with the machine's own compiler, loaded, and called on tensors.

They are for CPUs with bf16 products in AVX-512, where a step in bf16 otherwise spends more time between its matrix
products than in them. Everything they do has a twin in PyTorch, which runs wherever they cannot be had.
"""

from __future__ import annotations

import ctypes
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import as_file, files
from pathlib import Path

import torch
from torch import Tensor

from ensue.core.files import cache_folder

LARGE_BLOCKS = "large_blocks.cpp"
"""torch's memory for large tensors, on any Linux: a library of its own, built against torch's headers."""

NEEDED = ("avx512f", "avx512bw", "avx512dq", "avx512vl", "avx512_bf16", "avx512_vnni", "fma")
FLAGS = (
    *("-O3", "-std=c++17", "-fPIC", "-fopenmp", "-fno-math-errno"),
    *("-mavx512f", "-mavx512bw", "-mavx512dq", "-mavx512vl", "-mavx512bf16", "-mavx512vnni", "-mfma"),
)


@dataclass(frozen=True)
class Library:
    """Sources that are built into one library, and the headers they read."""

    name: str
    sources: tuple[str, ...]
    headers: tuple[str, ...]


TRAINING = Library(
    "kernels",
    ("activation.cpp", "attention.cpp", "cross_entropy.cpp", "norm.cpp", "rotary.cpp"),
    ("product.h", "vector.h"),
)
INFERENCE = Library("inference", ("inference.cpp",), ("packed.h", "greatest.h", "vector.h"))


class Unavailable(Exception):
    """Why the kernels cannot be had here, in words that follow "PyTorch's own kernels are used: "."""


class Kernels:
    """The loaded library. Arguments are tensors, numbers, structures, or None for a null pointer."""

    def __init__(self, path: Path) -> None:
        self._library = ctypes.CDLL(str(path))

    def call(self, name: str, *arguments: Tensor | ctypes.Structure | int | float | bool | None) -> None:
        """Run one kernel with torch's number of threads, which each takes as its last argument."""
        function = self._library[name]
        function.restype = None
        function(*(_as_c(argument) for argument in arguments), ctypes.c_int(torch.get_num_threads()))


def usable_kernels(device: torch.device) -> Kernels | None:
    """The kernels, where a bf16 forward pass runs on a CPU that has them; None while `torch.compile` traces."""
    if device.type != "cpu" or not torch.is_autocast_enabled("cpu") or torch.compiler.is_compiling():
        return None
    return kernels()


def kernels(library: Library = TRAINING) -> Kernels | None:
    """The kernels, built at the first call on a machine; None where they cannot be had."""
    found = _found(library)
    return found if isinstance(found, Kernels) else None


def why_no_kernels(library: Library = TRAINING) -> Unavailable | None:
    """The reason why there are none; None where there are."""
    found = _found(library)
    return found if isinstance(found, Unavailable) else None


@cache
def _found(library: Library) -> Kernels | Unavailable:
    try:
        return load_kernels(library)
    except Unavailable as reason:
        return reason


def load_kernels(library: Library = TRAINING) -> Kernels:
    """Build if need be, and load. Raises Unavailable with the reason."""
    if os.environ.get("ENSUE_KERNELS") == "off":
        raise Unavailable("ENSUE_KERNELS is off")
    missing = [flag for flag in NEEDED if flag not in _processor_flags()]
    if missing:
        raise Unavailable(f"this processor lacks {', '.join(missing)}")
    compiler = _compiler()
    with as_file(files("ensue.core") / "kernels") as sources:
        path = cache_folder() / f"{library.name}-{_fingerprint(library, sources)}.so"
        if not path.exists():
            if compiler is None:
                raise Unavailable("no C++ compiler was found; install g++ or clang++")
            # torch has loaded its own libgomp by this name, so that both share one pool of threads.
            _build(sources, compiler, path, names=library.sources, flags=FLAGS, link=("-fopenmp",))
    try:
        return Kernels(path)
    except OSError as error:
        raise Unavailable(f"{path} cannot be loaded ({error})") from error


def load_large_blocks(smallest: int) -> bool:
    """Build if need be, load, and have torch's CPU tensors of `smallest` bytes or more come from `large_blocks.cpp`.

    Says whether there is address space for them. Raises Unavailable with the reason why it cannot be built.
    """
    if os.environ.get("ENSUE_KERNELS") == "off":
        raise Unavailable("ENSUE_KERNELS is off")
    torch_folder = Path(torch.__file__).parent
    flags = ("-O2", "-std=c++20", "-fPIC", f"-I{torch_folder / 'include'}")
    with as_file(files("ensue.core") / "kernels") as sources:
        code = (sources / LARGE_BLOCKS).read_bytes()
        digest = hashlib.sha256(" ".join((torch.__version__, *flags)).encode() + code).hexdigest()[:16]
        path = cache_folder() / f"large-blocks-{digest}.so"
        if not path.exists():
            compiler = _compiler()
            if compiler is None:
                raise Unavailable("no C++ compiler was found; install g++ or clang++")
            _build(
                sources, compiler, path, names=(LARGE_BLOCKS,), flags=flags, link=(f"-L{torch_folder / 'lib'}", "-lc10")
            )
    try:
        function = ctypes.CDLL(str(path)).take_large_blocks
    except OSError as error:
        raise Unavailable(f"{path} cannot be loaded ({error})") from error
    function.restype = ctypes.c_bool
    return bool(function(ctypes.c_long(smallest)))


def _compiler() -> str | None:
    return os.environ.get("CXX") or next(filter(shutil.which, ("g++", "clang++", "c++")), None)


def _build(
    sources: Path, compiler: str, path: Path, *, names: Sequence[str], flags: Sequence[str], link: Sequence[str]
) -> None:
    """Compile every source at once, link, and put the library in its place whole."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=path.parent) as folder:
            objects = {name: Path(folder, name).with_suffix(".o") for name in names}
            running = [
                subprocess.Popen(
                    [compiler, *flags, "-c", str(sources / name), "-o", str(objects[name])],
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.PIPE,
                    text=True,
                )
                for name in names
            ]
            said = [process.communicate()[1] for process in running]
            for process, name, words in zip(running, names, said, strict=True):
                if process.returncode:
                    raise Unavailable(f"{compiler} could not build {name}: {words.strip()[:500]}")
            library = Path(folder, "library.so")
            command = [compiler, "-shared", *map(str, objects.values()), *link, "-o", str(library)]
            linked = subprocess.run(command, capture_output=True, text=True)
            if linked.returncode:
                raise Unavailable(f"{compiler} could not link the kernels: {linked.stderr.strip()[:500]}")
            os.replace(library, path)
    except OSError as error:
        raise Unavailable(f"building them failed ({error})") from error


def _fingerprint(library: Library, sources: Path) -> str:
    """Of the sources and of how they are built: another version of Ensue builds its own."""
    digest = hashlib.sha256(" ".join(FLAGS).encode())
    for name in (*library.headers, *library.sources):
        digest.update((sources / name).read_bytes())
    return digest.hexdigest()[:16]


@cache
def _processor_flags() -> frozenset[str]:
    """What Linux says the processor can do; nothing elsewhere."""
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="ascii", errors="replace") if sys.platform == "linux" else ""
    except OSError:
        return frozenset()
    line = next((line for line in text.splitlines() if line.startswith("flags")), "")
    return frozenset(line.partition(":")[2].split())


def _as_c(argument: Tensor | ctypes.Structure | int | float | bool | None) -> object:
    match argument:
        case None:
            return ctypes.c_void_p(None)
        case Tensor():
            assert argument.is_contiguous()
            return ctypes.c_void_p(argument.data_ptr())
        case ctypes.Structure():
            return ctypes.byref(argument)
        case bool():
            return ctypes.c_bool(argument)
        case int():
            return ctypes.c_long(argument)
        case float():
            return ctypes.c_float(argument)
