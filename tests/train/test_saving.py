"""Saving beside the training: what is written is of the moment of the call, and what goes wrong is not lost."""

import os
import resource
import threading
import time

import pytest
import torch
from safetensors.torch import load_file

from ensue.core.files import verify_checksums
from ensue.train.checkpoint import Contents
from ensue.train.saving import Saver


def tensors(size=1000):
    return {"a": torch.randn(size, 30), "b": torch.randn(30, size).t()}


def contents(held):
    return Contents(files={"note.txt": b"hello"}, tensors={"x.safetensors": held})


@pytest.mark.parametrize("in_background", [True, False])
def test_a_folder_holds_what_was_there_at_the_call(tmp_path, in_background):
    saver = Saver(in_background=in_background)
    held = tensors()
    for step in (3, 4):
        kept = {name: tensor.clone() for name, tensor in held.items()}
        saver.save(contents(held), tmp_path / str(step), step)
        for tensor in held.values():
            tensor.add_(1.0)
        saver.wait()
        found = load_file(tmp_path / str(step) / "x.safetensors")
        assert all(torch.equal(found[name], tensor) for name, tensor in kept.items())
        assert (tmp_path / str(step) / "note.txt").read_bytes() == b"hello"
        verify_checksums(tmp_path / str(step))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["3", "4"]
    done = saver.finished()
    assert [(each.step, each.folder) for each in done] == [(3, tmp_path / "3"), (4, tmp_path / "4")]
    assert saver.finished() == [], "each is told once"


def test_training_goes_on_while_it_is_written_and_the_next_save_waits(tmp_path):
    """The thread has to flush a pipe, which it cannot open before somebody holds the other end."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    saver = Saver(in_background=True, flush=[pipe])
    saver.save(contents(tensors()), tmp_path / "1", 1)
    assert saver.finished() == []
    raised = []

    def save_another():
        try:
            saver.save(contents(tensors()), tmp_path / "2", 2)
        except OSError as error:
            raised.append(error)

    another = threading.Thread(target=save_another)
    another.start()
    time.sleep(0.1)
    assert another.is_alive(), "one at a time"
    assert not (tmp_path / "1").exists(), "and none under its name before all of it is on the disk"
    os.close(os.open(pipe, os.O_WRONLY))
    another.join()
    assert "Invalid argument" in str(raised[0]), "a pipe is not on any disk"
    assert [path.name for path in tmp_path.iterdir()] == ["pipe"]


def test_what_fails_is_raised_once_at_the_next_call_and_leaves_nothing(tmp_path):
    saver = Saver(in_background=True)
    saver.save(contents(tensors()), tmp_path / "1", 1)
    saver.wait()
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, before[1]))
    try:
        saver.save(contents(tensors()), tmp_path / "2", 2)
        with pytest.raises(OSError, match="too large"):
            saver.wait()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert [path.name for path in tmp_path.iterdir()] == ["1"]
    assert [each.step for each in saver.finished()] == [1]
    saver.wait()
    saver.save(contents(tensors()), tmp_path / "2", 2)
    saver.wait()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["1", "2"]


def test_a_state_that_has_grown_is_saved_whole(tmp_path):
    """An optimizer has no state before its first step."""
    saver = Saver(in_background=True)
    held = {}
    for step in range(3):
        saver.save(contents(held), tmp_path / str(step), step)
        saver.wait()
        assert load_file(tmp_path / str(step) / "x.safetensors").keys() == held.keys()
        held[f"new {step}"] = torch.randn(5)
