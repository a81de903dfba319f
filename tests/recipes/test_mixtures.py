"""Mixtures from the command line: made, shown, trained on, killed and continued, replayed, and refused when changed."""

import json
import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from safetensors.torch import load_file

from ensue.core.run import RunFolder
from ensue.recipes.data import Data, prepare_files
from ensue.recipes.display import Display
from ensue.recipes.mixtures import GPT3, mix, read_weight
from ensue.recipes.parts import stream_of
from ensue.recipes.resuming import config_at
from ensue.train.parallel import Place

Ensue = Callable[..., tuple[int, str]]
STEPS = 14
OPTIONS = f"--recipe gpt --steps {STEPS} --save_every 5 --evaluate_every 7 --keep_checkpoints 0 --batch.start 4".split()


@pytest.fixture(scope="module")
def sources(data: Data, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Two prepared folders of one tokenizer, the second much smaller."""
    folder = tmp_path_factory.mktemp("sources")
    shutil.copytree(data.path, folder / "large")
    (folder / "poems").mkdir()
    for number in range(4):
        lines = [f"river {word} stone sea {number}" for word in ("under", "grey", "light", "people", "keep", "books")]
        (folder / "poems" / f"{number}.txt").write_text("\n".join(lines * 4), encoding="utf-8")
    prepare_files(
        [folder / "poems"], folder / "small", vocab=None, tokenizer=data.tokenizer, seed=0, display=Display(quiet=True)
    )
    return folder / "large", folder / "small"


@pytest.fixture(scope="module")
def mixture(sources: tuple[Path, Path]) -> Path:
    large, small = sources
    out = large.parent / "mix"
    mix([f"large={large}:0.75->0.25", f"small={small}:0.25->0.75"], out, preset=None, normalise=False)
    return out


@pytest.fixture(scope="module")
def finished(mixture: Path, forker, tiny: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = tmp_path_factory.mktemp("mixed") / "run"
    code, said = forker.run("train", mixture, "--run", run, *OPTIONS, "--batch.end", "4", *tiny)
    assert code == 0, said
    assert "epochs in" in said
    assert "held-out text of small" in said
    return run


def weights_of(run: Path) -> dict[str, bytes]:
    return {name: tensor.numpy().tobytes() for name, tensor in load_file(run / "final" / "model.safetensors").items()}


def test_a_mixture_is_small_names_its_sources_by_relative_paths_and_shows_their_epochs(
    mixture: Path, sources: tuple[Path, Path], ensue: Ensue
) -> None:
    record = json.loads((mixture / "mixture.json").read_text(encoding="utf-8"))
    assert [source["data"] for source in record["sources"]] == ["../large", "../small"]
    assert [path.name for path in mixture.iterdir()] == ["mixture.json"]
    code, said = ensue("info", mixture, "--json")
    assert code == 0
    told = json.loads(said)
    sizes = [len(Data(path).train.tokens) for path in sources]
    assert told["tokens"] == sum(sizes)
    assert [source["epochs"] for source in told["sources"]] == pytest.approx([sum(sizes) / 2 / size for size in sizes])
    code, said = ensue("info", mixture)
    assert "75.0% -> 25.0%" in said


def test_a_mixture_moves_with_its_sources(mixture: Path, tmp_path: Path) -> None:
    shutil.copytree(mixture.parent, tmp_path / "moved")
    assert [part.folder for part in Data(tmp_path / "moved" / "mix").parts] == [
        (tmp_path / "moved" / name).resolve() for name in ("large", "small")
    ]


def test_sources_have_their_turns_as_the_weights_say_and_why_names_them(finished: Path, ensue: Ensue) -> None:
    run = RunFolder.open(finished)
    config = config_at(run, 1)
    stream = stream_of(config, Data(finished / config.data), Place())
    parts, _ = stream.packed.sequences.turns.of(np.arange(4 * STEPS))
    early, late = Counter(parts[: 2 * STEPS].tolist()), Counter(parts[2 * STEPS :].tolist())
    assert sum(parts == 0) == pytest.approx(2 * STEPS, abs=2)
    assert early[0] > early[1]
    assert late[0] < late[1]
    code, said = ensue("why", finished, "--step", "3", "--json")
    assert code == 0, said
    documents = json.loads(said)["documents"]
    assert {document["part"] for document in documents} == {"large", "small"}
    assert sum(document["tokens"] for document in documents) == 4 * 16
    code, said = ensue("why", finished, "--step", "3")
    assert code == 0
    assert "small  " in said


def test_the_held_out_loss_of_each_source_is_told_and_weighed(finished: Path) -> None:
    rows = [row for row in RunFolder.open(finished).rows() if "val_loss" in row]
    assert len(rows) == 3
    for row in rows:
        assert row["val_loss"] == pytest.approx((row["val_loss/large"] + row["val_loss/small"]) / 2)


@pytest.mark.parametrize("step", [4, 9])
def test_a_killed_run_on_a_mixture_continues_bit_for_bit_and_verifies(
    step: int, mixture: Path, finished: Path, forker, tiny: list[str], tmp_path: Path
) -> None:
    run = tmp_path / "run"
    arguments = ["train", mixture, "--run", run, *OPTIONS, "--batch.end", "4", *tiny]
    code, _ = forker.run(*arguments, signals={step: "SIGKILL"})
    assert code == -9
    code, said = forker.run("train", "--resume", run)
    assert code == 0, said
    assert weights_of(run) == weights_of(finished)
    one, other = (
        [{key: row[key] for key in ("step", "samples", "tokens", "weights")} for row in rows if "samples" in row]
        for rows in (map(json.loads, (path / "receipts.jsonl").read_text().splitlines()) for path in (run, finished))
    )
    assert one == other
    code, said = forker.run("verify", run, "--steps", f"0:{STEPS}")
    assert code == 0, said
    assert "bit-identical" in said


@pytest.mark.parametrize("processes", [2, 3])
def test_any_number_of_processes_reads_the_batches_of_one(processes: int, finished: Path) -> None:
    config = config_at(RunFolder.open(finished), 1)
    data = Data(finished / config.data)
    alone = stream_of(config, data, Place())
    shared = [stream_of(config, data, Place(rank, processes)) for rank in range(processes)]
    for step in range(STEPS):
        expected = [row for batch in alone.batches(step) for row in batch.tokens.tolist()]
        read = [
            row
            for stream in shared
            for batch in stream.batches(step)
            for row, weights in zip(batch.tokens.tolist(), batch.weights, strict=True)
            if weights.sum() > 0
        ]
        assert read == expected
        assert shared[1].samples_digest(step) == alone.samples_digest(step)
        assert shared[1].tokens_digest(step) == alone.tokens_digest(step)


def test_a_source_that_changes_is_refused_by_name(mixture: Path, data: Data, tmp_path: Path, ensue: Ensue) -> None:
    shutil.copytree(mixture.parent, tmp_path / "moved")
    small = tmp_path / "moved" / "small"
    shutil.rmtree(small)
    code, said = ensue("info", tmp_path / "moved" / "mix")
    assert code == 2
    assert "the source small of" in said
    shutil.copytree(data.path, small)
    code, said = ensue("train", tmp_path / "moved" / "mix", "--run", tmp_path / "run", "--steps", "3")
    assert code == 2
    assert "the source small of" in said
    assert "was changed" in said
    assert not (tmp_path / "run").exists()


def test_a_run_whose_mixture_has_other_weights_now_is_not_continued(
    mixture: Path, finished: Path, tmp_path: Path, ensue: Ensue
) -> None:
    shutil.copytree(mixture.parent, tmp_path / "moved")
    record = json.loads((tmp_path / "moved" / "mix" / "mixture.json").read_text(encoding="utf-8"))
    for source in record["sources"]:
        source["weight"]["points"] = [[0.0, 0.5]]
    (tmp_path / "moved" / "mix" / "mixture.json").write_text(json.dumps(record), encoding="utf-8")
    shutil.copytree(finished, tmp_path / "run", symlinks=True)
    code, said = ensue("train", tmp_path / "moved" / "mix", "--resume", tmp_path / "run")
    assert code == 2
    assert "training text" in said


def test_what_cannot_be_mixed_is_refused_with_what_to_type(
    sources: tuple[Path, Path], corpus: Path, tmp_path: Path, ensue: Ensue
) -> None:
    large, small = sources

    def refused(*given: str) -> str:
        code, said = ensue("corpus", "mix", *given, "--out", tmp_path / "mix")
        assert code == 2, said
        assert not (tmp_path / "mix").exists()
        return said

    assert "--normalise" in refused(f"a={large}:0.5", f"b={small}:0.6")
    assert "at 100% of the run" in refused(f"a={large}:0.5->0.6", f"b={small}:0.5")
    assert "in quotes" in refused(f"a={large}:0.1-", f"b={small}:0.9")
    assert "@0.5" in refused(f"a={large}:0.1->0.2->0.5", f"b={small}:0.9")
    assert "a name of its own" in refused(f"a={large}:0.5", f"a={small}:0.5")
    assert "NAME=DATA:WEIGHT" in refused(f"{large}:0.5", f"b={small}:0.5")
    assert "has no weight" in refused(f"a={large}", f"b={small}:0.5")
    assert "ensue prepare" in refused(f"a={corpus}:0.5", f"b={small}:0.5")
    assert "has no source 'a'" in refused(f"a={large}", f"b={small}", "--preset", "gpt3")
    other = prepare_files([corpus], tmp_path / "other", vocab=280, tokenizer=None, seed=0, display=Display(quiet=True))
    assert f"--tokenizer {large / 'tokenizer'}" in refused(f"a={large}:0.5", f"b={other.path}:0.5")


def test_weights_are_evened_out_on_request_and_for_the_whole_preset(
    sources: tuple[Path, Path], tmp_path: Path, ensue: Ensue
) -> None:
    large, small = sources
    code, said = ensue("corpus", "mix", f"a={large}:3", f"b={small}:1->9", "--normalise", "--out", tmp_path / "one")
    assert code == 0, said
    assert [part.weight.points for part in Data(tmp_path / "one").parts] == [
        ((0.0, 0.75), (1.0, 0.25)),
        ((0.0, 0.25), (1.0, 0.75)),
    ]
    names = [f"{name}={small if name == 'wikipedia' else large}" for name in GPT3]
    code, said = ensue("corpus", "mix", *names, "--preset", "gpt3", "--out", tmp_path / "gpt3")
    assert code == 0, said
    assert {part.name: part.weight.mean for part in Data(tmp_path / "gpt3").parts} == pytest.approx(
        {name: weight / 1.01 for name, weight in GPT3.items()}
    )


def test_a_weight_is_read_as_points() -> None:
    assert read_weight("0.3").points == ((0.0, 0.3),)
    assert read_weight("0.1->0.5").points == ((0.0, 0.1), (1.0, 0.5))
    assert read_weight("0.1->0.1@0.8->0.5").points == ((0.0, 0.1), (0.8, 0.1), (1.0, 0.5))


def test_a_warm_start_counts_each_source_by_its_weight(
    mixture: Path, tiny: list[str], tmp_path: Path, ensue: Ensue
) -> None:
    options = ["--recipe", "modern", "--steps", "2", "--warm_start", "2", "--tied", "false", "--batch.end", "4"]
    code, said = ensue("train", mixture, "--run", tmp_path / "run", *options, *tiny)
    assert code == 0, said
    assert "bigrams" in said
