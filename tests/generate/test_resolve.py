"""What a path means: runs, checkpoints, folders, Hub names, and what is said of everything else."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from ensue.core.run import RunFolder
from ensue.generate.resolve import resolve


def fill(folder: Path, weights: str = "model.safetensors") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / weights).write_bytes(b"")
    return folder


@pytest.mark.parametrize(
    "weights", ["model.safetensors", "model.safetensors.index.json", "pytorch_model.bin", "params_shapes.json"]
)
def test_a_folder_with_weights_is_itself(tmp_path: Path, weights: str) -> None:
    assert resolve(fill(tmp_path / "m", weights)) == tmp_path / "m"
    assert resolve(str(tmp_path / "m")) == tmp_path / "m"


def test_a_run_is_its_final_or_its_newest_checkpoint(tmp_path: Path) -> None:
    run = RunFolder.create(tmp_path / "run")
    run.write_config({})
    with pytest.raises(ValueError, match=r"no checkpoint yet.*ensue train --resume"):
        resolve(run.path)
    for step in (90, 100):
        fill(run.checkpoint_path(step))
    (run.path / "checkpoints" / ".00000200.writing-7").mkdir()
    run.checkpoint_path(300).mkdir()  # no weights in it
    assert resolve(run.path) == run.checkpoint_path(100)
    assert resolve(run.path / "checkpoints") == run.checkpoint_path(100)
    run.point("final", run.checkpoint_path(90))
    assert resolve(run.path) == run.checkpoint_path(90).resolve()


def test_what_is_not_a_model(tmp_path: Path) -> None:
    (tmp_path / "runs" / "empty").mkdir(parents=True)
    with pytest.raises(ValueError, match="holds no model"):
        resolve(tmp_path / "runs" / "empty")
    fill(tmp_path / "runs" / "good")
    with pytest.raises(ValueError, match=r"holds no model.*runs/good"):
        resolve(tmp_path / "runs")
    with pytest.raises(ValueError, match="is a file"):
        resolve(tmp_path / "runs" / "good" / "model.safetensors")


def test_a_misspelt_path_names_the_nearest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(tmp_path / "runs" / "stories")
    with pytest.raises(FileNotFoundError, match=r"Did you mean .*runs/stories"):
        resolve(tmp_path / "runs" / "storys")
    with pytest.raises(FileNotFoundError, match=r"Did you mean .*runs\?"):
        resolve(tmp_path / "rums" / "stories")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(FileNotFoundError, match="Did you mean runs/stories"):
        resolve("runs/storys")  # spelt like a Hub name, but runs/ is here
    with pytest.raises(FileNotFoundError, match="openai-community/gpt2"):
        resolve("gpt2")


def in_cache(cache: Path, name: str) -> Path:
    """A model in the Hub's cache layout: blobs, a snapshot of links to them, and a ref that names it."""
    repository = cache / f"models--{name.replace('/', '--')}"
    commit = "0123456789abcdef0123456789abcdef01234567"
    (repository / "blobs").mkdir(parents=True)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text(commit)
    snapshot = repository / "snapshots" / commit
    snapshot.mkdir(parents=True)
    for file in ("config.json", "model.safetensors"):
        (repository / "blobs" / file).write_bytes(json.dumps({}).encode())
        (snapshot / file).symlink_to(Path("../../blobs") / file)
    return snapshot


def test_a_hub_name_offline(tmp_path: Path) -> None:
    """In processes of their own, where the Hub's environment variables count; torch stays unloaded."""
    snapshot = in_cache(tmp_path / "cache", "someone/small-gpt")
    program = (
        "import sys; from ensue.generate.resolve import resolve\n"
        "try: print(resolve(sys.argv[1]))\n"
        "except FileNotFoundError as error: print('NOT FOUND', error)\n"
        "assert 'torch' not in sys.modules"
    )
    environment = {**os.environ, "HF_HUB_CACHE": str(tmp_path / "cache"), "HF_HUB_OFFLINE": "1"}

    def run(name: str) -> str:
        command = [sys.executable, "-c", program, name]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True, timeout=60)
        return done.stdout.strip()

    assert Path(run("someone/small-gpt")) == snapshot
    missing = run("someone/other-gpt")
    assert missing.startswith("NOT FOUND")
    assert "someone/other-gpt" in missing
    assert "no internet" in missing
    assert "local folder" in missing
