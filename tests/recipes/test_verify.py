"""`ensue verify` replays to the bit, and names what was changed and where it shows; `ensue why` lists documents."""

import json
import shutil
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file

from ensue.cli import main
from ensue.core.files import write_checksums
from ensue.core.run import RunFolder
from ensue.model.presets import modern
from ensue.recipes.data import Data
from ensue.recipes.display import Display
from ensue.recipes.papers import train_modern
from ensue.recipes.resuming import config_at
from ensue.recipes.training import start_run
from ensue.tokens.stream import BatchRamp, PackedStream
from ensue.train.schedule import Schedule

Ensue = Callable[..., tuple[int, str]]
OPTIONS = [
    "--steps",
    "12",
    "--save_every",
    "4",
    "--evaluate_every",
    "4",
    "--keep_checkpoints",
    "0",
    "--batch.start",
    "2",
    "--batch.end",
    "2",
]


@pytest.fixture(scope="module")
def finished(corpus: Path, tiny: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of 12 steps with dropout from text, with the checkpoints 0, 4, 8 and 12; copy it before changing it."""
    run = tmp_path_factory.mktemp("verified") / "finished"
    assert main(["train", str(corpus), "--run", str(run), "--recipe", "gpt", "--vocab", "300", *OPTIONS, *tiny]) == 0
    return run


@pytest.fixture
def run(finished: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(finished, tmp_path / "run", symlinks=True))


def verdict(ensue: Ensue, run: Path, first: int, last: int) -> dict[str, Any]:
    code, said = ensue("verify", run, "--steps", f"{first}:{last}", "--json")
    found: dict[str, Any] = json.loads(said.splitlines()[-1])
    assert code == (0 if found["identical"] else 1)
    return found


@pytest.mark.parametrize(("first", "last", "start"), [(4, 8, 4), (0, 12, 0), (8, 9, 8), (10, 11, 8), (3, 10, 0)])
def test_an_untouched_run_is_bit_identical(first: int, last: int, start: int, finished: Path, ensue: Ensue) -> None:
    before = {path: path.stat().st_mtime_ns for path in finished.rglob("*")}
    found = verdict(ensue, finished, first, last)
    assert found["identical"], found
    assert (found["start"], found["stop"], found["replayed"]) == (start, last, last - start)
    weights, state = (len(load_file(finished / "final" / f"{name}.safetensors")) for name in ("model", "optimizer"))
    saved = [step for step in (4, 8, 12) if start < step <= last]
    assert found["tensors"] == len(saved) * (weights + state)
    assert {path: path.stat().st_mtime_ns for path in finished.rglob("*")} == before
    code, said = ensue("verify", finished, "--steps", f"{first}:{last}")
    assert (code, said.startswith(f"bit-identical: steps {start + 1} to {last}\n")) == (0, True)


def test_a_run_whose_checkpoints_were_dropped_is_replayed_from_its_seed(run: Path, ensue: Ensue) -> None:
    shutil.rmtree(run / "checkpoints" / "00000000")
    shutil.rmtree(run / "checkpoints" / "00000004")
    found = verdict(ensue, run, 0, 12)
    assert (found["identical"], found["start"], found["replayed"]) == (True, 0, 12)
    code, said = ensue("verify", run, "--steps", "5:12")
    assert code == 2
    assert "no checkpoint at or before step 5 is left" in said
    assert f"ensue verify {run} --steps 8:12" in said
    assert f"ensue verify {run} --steps 0:12" in said
    assert "--keep_checkpoints 0" in said


@pytest.mark.parametrize("steps", ["4", "8:4", "5:5", "a:b", "0:13", "-1:4"])
def test_windows_that_are_none(steps: str, finished: Path, ensue: Ensue) -> None:
    code, said = ensue("verify", finished, f"--steps={steps}")
    assert code == 2, said
    assert "--steps" in said


def test_one_byte_of_the_data(run: Path, ensue: Ensue) -> None:
    """The first step that read it is named, and the document."""
    data, config = Data(run / "data"), config_at(RunFolder(run), 1)
    stream = PackedStream(data.train, context=16, batch=config.batch, micro_batch=3, seed=config.seed)
    size = len(data.train.tokens)
    place = (int(stream.places(6)[1]) + 3) % size
    span = data.train.documents_between(place, place)[0]
    path = run / "data" / "train" / "tokens.bin"
    held = bytearray(path.read_bytes())
    held[2 * place] ^= 1
    path.write_bytes(held)

    def reads(step: int) -> bool:
        return any(place in [each % size for each in range(first, first + 17)] for first in stream.places(step - 1))

    first = min(step for step in range(1, 13) if reads(step))
    found = verdict(ensue, run, 0, 12)["difference"]
    assert (found["step"], found["what"]) == (first, "tokens")
    assert f"no longer what they were:\n  {span.id}  {span.source}" in found["explanation"]
    if first > 1:
        assert verdict(ensue, run, 0, first - 1)["identical"]
    code, said = ensue("why", run, "--step", first)
    assert (code, f"ensue verify {run}" in said) == (2, True)


@pytest.mark.parametrize("file", ["model.safetensors", "optimizer.safetensors"])
@pytest.mark.parametrize("checksums", ["kept", "made to fit"])
def test_one_bit_of_a_checkpoint(file: str, checksums: str, run: Path, ensue: Ensue) -> None:
    """Even where whoever changed it has written new checksums: the tensor is named."""
    path = run / "checkpoints" / "00000004" / file
    names = sorted(load_file(path))
    name = names[len(names) // 2]
    _flip_in_place(path, name)
    if checksums == "made to fit":
        write_checksums(path.parent)
    found = verdict(ensue, run, 4, 8)["difference"]
    assert (found["step"], found["what"], found["tensor"]) == (4, file, name)
    assert verdict(ensue, run, 8, 12)["identical"], "what comes behind is not touched by it"
    # From before it, the replay arrives at what was saved then.
    assert verdict(ensue, run, 0, 8)["identical"]


def _flip_in_place(path: Path, name: str) -> None:
    raw = bytearray(path.read_bytes())
    length = int.from_bytes(raw[:8], "little")
    _, stop = json.loads(raw[8 : 8 + length])[name]["data_offsets"]
    raw[8 + length + stop - 4] ^= 1
    path.write_bytes(raw)


def test_one_digit_of_the_config(run: Path, ensue: Ensue) -> None:
    path = run / "config.json"
    text = path.read_text()
    path.write_text(text.replace('"lr": 0.00025', '"lr": 0.00035'))
    assert path.read_text() != text
    for first, last in ((0, 12), (4, 8)):
        found = verdict(ensue, run, first, last)["difference"]
        assert (found["step"], found["what"]) == (first + 1, "config")
        assert "optimizer.lr is 0.00025 in the run and 0.00035 here" in found["explanation"]
    path.write_text(text.replace('"save_every": 4', '"save_every": 5'))
    assert verdict(ensue, run, 4, 8)["identical"], "nothing that was trained depends on it"


@pytest.mark.parametrize("change", [("loss", 1.5), ("samples", "0" * 16), ("weights", "AAAA")])
def test_a_receipt_that_was_changed(change: tuple[str, object], run: Path, ensue: Ensue) -> None:
    path = run / "receipts.jsonl"
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    next(row for row in rows if row["step"] == 6)[change[0]] = change[1]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    found = verdict(ensue, run, 4, 8)["difference"]
    assert (found["step"], found["what"]) == (6, "receipts")
    assert verdict(ensue, run, 0, 4)["identical"]


def test_a_forged_chain_is_found_by_the_replay(run: Path, ensue: Ensue) -> None:
    """Somebody who changes a row and hashes all of the chain again is betrayed by the steps themselves."""
    from ensue.core.receipts import Receipts

    path = run / "receipts.jsonl"
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    path.write_text("")
    forged = Receipts(path)
    for row in [{name: value for name, value in row.items() if name != "chain"} for row in rows if "chain" in row]:
        forged.add({**row, "loss": row["loss"] * 1.25} if row["step"] == 6 else row)
    found = verdict(ensue, run, 0, 8)["difference"]
    assert (found["step"], found["what"]) == (6, "loss")


def test_other_code_is_told(run: Path, ensue: Ensue, monkeypatch: pytest.MonkeyPatch) -> None:
    import ensue.recipes.verify as module

    monkeypatch.setattr(module, "source_digest", lambda: "another code")
    found = verdict(ensue, run, 4, 8)
    assert found["identical"]
    assert "other source code" in found["notes"][0]


def test_a_window_across_a_change_of_config(run: Path, ensue: Ensue) -> None:
    code, said = ensue("train", "--resume", run, "--steps", 16, "--optimizer.lr", "1e-3", "--changed")
    assert code == 0, said
    code, said = ensue("verify", run, "--steps", "8:16")
    assert code == 2, said
    assert "the config changed after step 12" in said
    assert "what is before it with --steps 8:12 and what is behind it with --steps 12:16" in said
    code, said = ensue("train", "--resume", run, "--steps", 20, "--changed")
    assert code == 0, said
    shutil.rmtree(run / "checkpoints" / "00000012")
    code, said = ensue("verify", run, "--steps", "8:16")
    assert "checkpoint 12, from which the run went on, is not kept" in said
    code, said = ensue("verify", run, "--steps", "8:20")
    assert (code, "so what is behind it begins at --steps 16:20" in said) == (2, True), said
    assert verdict(ensue, run, 16, 20)["identical"]
    assert verdict(ensue, run, 8, 12)["identical"]


def test_a_run_that_was_fitted_to_its_time(data: Data, tmp_path: Path, ensue: Ensue) -> None:
    """Its schedule depends on how fast the machine happened to be; what it became is in the receipts."""
    shape = modern(layers=1, width=8, heads=1, context=16, vocab=data.tokenizer.vocab_size)
    config = replace(
        train_modern(shape, 1000, 4000),
        data=str(data.path),
        batch=BatchRamp(1, 1),
        schedule=Schedule("trapezoid", warmup=2, steps=4000),
        evaluate_every=0,
        sample_every=0,
        keep_checkpoints=0,
        save_every=50,
    )
    run = RunFolder.create(tmp_path / "run")
    with run.locked():
        start_run(run, config, display=Display(), deadline=time.monotonic() + 1.5)
    schedules = [row for row in map(json.loads, run.receipts_path.read_text().splitlines()) if "schedule" in row]
    assert schedules, "it was fitted"
    last = int((run.path / "final").resolve().name)
    assert last != 4000
    middle = schedules[len(schedules) // 2]["step"]
    for first, stop in ((0, last), (middle, last)):
        found = verdict(ensue, run.path, first, stop)
        assert found["identical"], found


def test_why_lists_what_was_read(finished: Path, ensue: Ensue) -> None:
    data = Data(finished / "data")
    known = {(span.id, span.source, span.start, span.stop) for span in data.train.spans(range(data.train.count))}
    for step in (1, 12):
        code, said = ensue("why", finished, "--step", step, "--json")
        assert code == 0, said
        answer = json.loads(said)
        listed = [(each["id"], each["source"], each["start"], each["stop"]) for each in answer["documents"]]
        assert set(listed) <= known
        assert sum(each["tokens"] for each in answer["documents"]) == 32
        code, said = ensue("why", finished, "--step", step)
        assert all(f"{id}  {source}" in said for id, source, _, _ in listed)
        assert f"step {step} read 32 tokens of {len(listed)} documents" in said
    for step in (0, 13):
        code, said = ensue("why", finished, "--step", step)
        assert (code, "--step from 1" in said) == (2, True)
