"""Checkpoints written while training goes on: a copy in memory, and a thread that puts it on the disk."""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from ensue.core.tensor_file import FileDigest, TensorImage
from ensue.train.checkpoint import Contents, write_checkpoint, write_files

NICENESS = 10
"""Of the writing thread on Linux: it takes the time that training leaves, and its share where that is none."""


@dataclass(frozen=True)
class Saved:
    """A checkpoint that is whole on the disk now.

    copying and writing are seconds: of training that stood still, and of the thread beside it.
    """

    step: int
    folder: Path
    digests: Mapping[str, FileDigest]
    copying: float
    writing: float

    @property
    def seconds(self) -> dict[str, float]:
        """Both, as events.jsonl has them."""
        return {"copying": round(self.copying, 4), "writing": round(self.writing, 4)}


class Saver:
    """Saves one checkpoint at a time: beside the training, or, if not `in_background`, while it waits.

    In the background it costs a second copy of what is saved in this process's memory, which is kept and used again. An
    error is raised at the next call from the thread that trains, and the checkpoints that were whole still are.
    """

    def __init__(self, *, in_background: bool, flush: Iterable[Path] = ()) -> None:
        """`flush` are files that must be on the disk when a checkpoint is: the rows that tell how it came about."""
        self._in_background = in_background
        self._flush = tuple(flush)
        self._images: dict[str, TensorImage] = {}
        self._thread: threading.Thread | None = None
        self._error: BaseException | None = None
        self._done: list[Saved] = []

    def save(self, contents: Contents, folder: Path, step: int) -> None:
        """Begin to save, once an earlier save is through. Raises what went wrong with that one, and, where nothing runs
        in the background, with this one."""
        self.wait()
        began = time.monotonic()
        if not self._in_background:
            digests = write_checkpoint(contents, folder, flush=self._flush)
            self._done.append(Saved(step, folder, digests, time.monotonic() - began, 0.0))
            return
        for name, tensors in contents.tensors.items():
            self._take(name, tensors)
        if any(tensor.is_cuda for tensors in contents.tensors.values() for tensor in tensors.values()):
            torch.cuda.synchronize()
        copying = time.monotonic() - began
        names = tuple(contents.tensors)
        self._thread = threading.Thread(
            target=self._write, args=(contents.files, names, folder, step, copying), name=f"save step {step}"
        )
        self._thread.start()

    def finished(self) -> list[Saved]:
        """What has become whole since this was last asked. Raises OSError where writing failed."""
        if self._thread is not None and not self._thread.is_alive():
            self.wait()
        done, self._done = self._done, []
        return done

    def wait(self) -> None:
        """Return when nothing is being written any more. Raises OSError where writing failed."""
        if self._thread is not None:
            self._thread.join()
            self._thread = None
        error, self._error = self._error, None
        if error is not None:
            raise error

    def _take(self, name: str, tensors: Mapping[str, Tensor]) -> None:
        if name not in self._images or not self._images[name].fits(tensors):
            self._images.pop(name, None)
            self._images[name] = TensorImage(tensors)
        self._images[name].take(tensors)

    def _write(self, files: Mapping[str, bytes], names: tuple[str, ...], folder: Path, step: int, copy: float) -> None:
        """The thread's work. It touches no tensor that trains, and lets go of the interpreter while it hashes."""
        began = time.monotonic()
        try:
            _be_nice()
            writers = {name: self._images[name].write for name in names}
            digests = write_files(files, writers, folder, flush=self._flush)
            self._done.append(Saved(step, folder, digests, copy, time.monotonic() - began))
        except BaseException as error:
            self._error = error


def _be_nice() -> None:
    """On Linux niceness is each thread's own; elsewhere it would slow the whole process."""
    if sys.platform == "linux":
        os.nice(NICENESS)
