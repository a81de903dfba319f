"""`ensue finetune` end to end for each task: what a run leaves, what loads, and what the model then says."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

import ensue as package
from ensue.generate.load import load
from ensue.model.more_tokens import rebuilt
from ensue.model.patterns import TwoWay
from ensue.model.weights import save_model

Call = Callable[..., tuple[int, str]]
OPTIONS = "--lr 0.01 --epochs 4 --batch 8 --precision fp32 --dropout 0 --auxiliary 0.1 --warmup 0.1"
QUICK = OPTIONS.split()


@pytest.fixture(scope="module")
def runs(
    model: Path, tables: dict[str, Path], tmp_path_factory: pytest.TempPathFactory
) -> dict[str, tuple[Path, list[dict[str, Any]]]]:
    """A tuned run of each task, and its rows of metrics."""
    from ensue.cli import main

    folder = tmp_path_factory.mktemp("tuned")
    found = {}
    for task, table in tables.items():
        run = folder / task
        arguments = ["finetune", model, table, "--task", task, "--run", run, *QUICK]
        assert main(list(map(str, arguments))) == 0
        lines = (run / "metrics.jsonl").read_text().splitlines()
        found[task] = (run, [json.loads(line) for line in lines])
    return found


@pytest.mark.parametrize("task", ["classify", "entail", "similarity", "choice"])
def test_a_run_learns_and_leaves_what_a_run_leaves(task: str, runs: dict[str, Any]) -> None:
    run, rows = runs[task]
    trained = [row for row in rows if "loss" in row]
    read = [row for row in rows if "val_loss" in row]
    assert [row["step"] for row in trained] == list(range(1, 109))  # 216 rows to train on, in batches of 8, 4 times
    assert [(row["step"], row["epoch"]) for row in read] == [(27, 1), (54, 2), (81, 3), (108, 4)]
    wanted = {"step", "loss", "task", "language_model", "correct", "lr", "grad_norm", "tokens", "counted", "seconds"}
    assert set(trained[0]) == wanted
    assert trained[-1]["counted"] == 864
    assert trained[0]["loss"] == pytest.approx(trained[0]["task"] + 0.1 * trained[0]["language_model"], rel=1e-5)
    assert trained[0]["lr"] == pytest.approx(0.01 / 12)
    assert trained[-1]["lr"] == pytest.approx(0.01 / 97)
    measured = "val_pearson" if task == "similarity" else "val_accuracy"
    assert max(row[measured] for row in read) > 0.9
    best = max(read, key=lambda row: (row[measured], -row["val_loss"]))
    assert int((run / "best").resolve().name) == best["step"]
    assert int((run / "final").resolve().name) == 108
    kept = {path.name for path in (run / "checkpoints").iterdir()}
    assert kept == {"00000108", f"{best['step']:08d}"}
    assert (run / "plots" / "tuning.png").stat().st_size > 10_000
    config = json.loads((run / "config.json").read_text())
    assert config["config"]["task"] == task
    assert config["config"]["optimizer"]["beta2"] == 0.999
    assert {"versions", "revision", "hardware"} <= config.keys()


def test_a_tuned_model_classifies_texts(runs: dict[str, Any], make_rows: Callable[..., Any]) -> None:
    lm = package.load(runs["classify"][0])
    assert lm.tuned is not None
    assert lm.tuned.shape.labels == ("bad", "good")
    assert lm.config.vocab == lm.tokenizer.vocab_size + 3
    rows = make_rows("classify", 40, 9)
    answers = lm.classify([row["text"] for row in rows])
    assert np.mean([answer.label == row["label"] for answer, row in zip(answers, rows, strict=True)]) > 0.9
    assert set(answers[0].probabilities) == {"bad", "good"}
    assert sum(answers[0].probabilities.values()) == pytest.approx(1)
    assert lm.classify(rows[0]["text"]).probabilities == pytest.approx(answers[0].probabilities, abs=1e-5)
    with pytest.raises(ValueError, match="one text at a time"):
        lm.classify("a", "b")
    assert isinstance(lm.generate("rivers", max_new_tokens=5), str)
    assert lm.loglikelihood("rivers", " carry") < 0


def test_pairs_choices_and_scores(runs: dict[str, Any], make_rows: Callable[..., Any]) -> None:
    entail, similarity, choice = (package.load(runs[task][0]) for task in ("entail", "similarity", "choice"))
    rows = make_rows("entail", 40, 9)
    said = entail.classify([row["premise"] for row in rows], [row["hypothesis"] for row in rows])
    assert np.mean([answer.label == str(row["label"]) for answer, row in zip(said, rows, strict=True)]) > 0.9
    one = similarity.classify("fine books", "the sea")
    other = similarity.classify("the sea", "fine books")
    assert isinstance(one.label, float)
    assert one.label == pytest.approx(other.label, abs=1e-4)  # both orders are read
    assert 0 <= one.label <= 5
    assert list(one.probabilities) == [0, 1, 2, 3, 4, 5]
    answers = choice.classify(["the sea", "windows"], [["poor light", "fine light"], ["fine sea", "poor sea", "poor"]])
    assert [answer.label for answer in answers] == [1, 0]
    assert [len(answer.probabilities) for answer in answers] == [2, 3]
    with pytest.raises(ValueError, match=r"lm\.classify\(context, \[choice, choice\]\)"):
        choice.classify("a")
    with pytest.raises(ValueError, match="two lists of one length"):
        choice.classify(["a", "b"], [["c", "d"]])


def test_answers_do_not_depend_on_the_company(runs: dict[str, Any], make_rows: Callable[..., Any]) -> None:
    lm = package.load(runs["choice"][0])
    rows = make_rows("choice", 40, 9)
    together = lm.classify([row["context"] for row in rows], [[row["ending1"], row["ending2"]] for row in rows])
    for row, answer in zip(rows, together, strict=True):
        alone = lm.classify(row["context"], [row["ending1"], row["ending2"]])
        assert alone.probabilities == pytest.approx(answer.probabilities, abs=1e-5)
    assert np.mean([answer.label == row["label"] for answer, row in zip(together, rows, strict=True)]) > 0.9


def test_a_checkpoint_is_a_folder_that_transformers_opens(runs: dict[str, Any]) -> None:
    transformers = pytest.importorskip("transformers")
    folder = runs["classify"][0] / "final"
    lm = load(folder)
    theirs = transformers.AutoModelForCausalLM.from_pretrained(folder).eval()
    tokens = torch.tensor([[lm.config.vocab - 3, 5, 6, lm.config.vocab - 1]])
    assert torch.allclose(theirs(tokens).logits, lm.model(tokens), atol=1e-4)
    assert set(load_file(folder / "head.safetensors")) == {"weight", "bias"}
    assert json.loads((folder / "task.json").read_text())["marks"]["extract"] == lm.config.vocab - 1


def test_a_model_that_was_not_tuned_says_what_to_type(model: Path) -> None:
    with pytest.raises(ValueError, match=f"ensue finetune {model} DATA --task classify --run runs/tuned"):
        package.load(model).classify("a text")


def test_a_damaged_head_is_named(runs: dict[str, Any], tmp_path: Path) -> None:
    import shutil

    folder = tmp_path / "copy"
    shutil.copytree(runs["classify"][0] / "final", folder)
    (folder / "checksums.json").unlink()
    (folder / "head.safetensors").write_bytes(b"no tensors")
    with pytest.raises(ValueError, match=r"head\.safetensors is not the head of this model"):
        load(folder)
    (folder / "task.json").write_text("{}")
    with pytest.raises(ValueError, match=r"task\.json is damaged"):
        load(folder)


def test_tuning_goes_on_from_a_tuned_model(
    runs: dict[str, Any], tables: dict[str, Path], tmp_path: Path, ensue: Call
) -> None:
    """On another task: its new tokens are there already, its head is a new one."""
    run = tmp_path / "again"
    code, said = ensue("finetune", runs["classify"][0], tables["entail"], "--task", "entail", "--run", run, *QUICK)
    assert code == 0, said
    lm, before = load(run), load(runs["classify"][0])
    assert lm.tuned is not None
    assert lm.config.vocab == before.config.vocab
    assert lm.tuned.shape.labels == ("0", "1")


def test_the_report_tells_what_to_type_next(model: Path, tables: dict[str, Path], tmp_path: Path, ensue: Call) -> None:
    run = tmp_path / "run"
    code, said = ensue("finetune", model, tables["choice"], "--task", "choice", "--run", run, *QUICK, "--epochs", "1")
    assert code == 0, said
    assert "216 examples to train on, 24 to validate on; read: context, label, choices from ending1,ending2" in said
    assert "% of what is fed is padding" in said
    assert "epoch 1, step 27: accuracy" in said
    assert f'ensue.load("{run}").classify("...", ["...", "..."])' in said


def test_the_best_model_is_tested(
    model: Path, tables: dict[str, Path], tmp_path: Path, ensue: Call, make_rows: Any, write_rows: Any
) -> None:
    run, test = tmp_path / "run", write_rows(tmp_path / "test.jsonl", make_rows("choice", 50, 9))
    code, said = ensue(
        "finetune", model, tables["choice"], "--task", "choice", "--run", run, *QUICK, "--epochs", "2", "--test", test
    )
    assert code == 0, said
    assert "24 to validate on, 50 to test on" in said
    record = json.loads((run / "test.json").read_text())
    assert f"test, by the best: accuracy {record['accuracy']:.3f}" in said
    assert record["step"] == int((run / "best").resolve().name)
    lm, rows = load(run / "best"), make_rows("choice", 50, 9)
    answers = lm.classify([row["context"] for row in rows], [[row["ending1"], row["ending2"]] for row in rows])
    right = [answer.label == row["label"] for answer, row in zip(answers, rows, strict=True)]
    assert record["accuracy"] == pytest.approx(np.mean(right))


def test_a_model_that_looks_ahead_is_tuned_without_the_texts_loss(
    model: Path, tables: dict[str, Path], tmp_path: Path, ensue: Call
) -> None:
    base, run = load(model), tmp_path / "run"
    ahead = rebuilt(base.model, replace(base.config, patterns=(TwoWay(),)))
    save_model(ahead, tmp_path / "ahead", end_token=base.tokenizer.end)
    base.tokenizer.save(tmp_path / "ahead")
    options = [tmp_path / "ahead", tables["entail"], "--task", "entail", "--run", run, *QUICK, "--epochs", "2"]
    code, said = ensue("finetune", *options)
    assert code == 2
    assert "type --auxiliary 0" in said
    code, said = ensue("finetune", *options, "--auxiliary", "0", "--dropout", "0.1")
    assert code == 0, said
    lm = load(run)
    long, short = ("rivers carry stones to the sea under light", "grey light"), ("the sea", "kind")
    alone = lm.classify(*short).probabilities
    beside = lm.classify([long[0], short[0]], [long[1], short[1]])[1].probabilities
    assert beside == pytest.approx(alone, abs=1e-5)  # it does not see the padding


def test_nothing_held_out(model: Path, tables: dict[str, Path], tmp_path: Path, ensue: Call) -> None:
    run = tmp_path / "run"
    options = [*QUICK, "--epochs", "1", "--held-out", "0", "--auxiliary", "0"]
    code, said = ensue("finetune", model, tables["classify"], "--run", run, *options)
    assert code == 0, said
    assert "none to validate on" in said
    assert not (run / "best").exists()
    assert (run / "final").is_dir()
    assert "language_model" not in (run / "metrics.jsonl").read_text()
    assert "val_loss" not in (run / "metrics.jsonl").read_text()


def test_a_dry_run_shows_and_trains_nothing(model: Path, tables: dict[str, Path], tmp_path: Path, ensue: Call) -> None:
    code, said = ensue("finetune", model, tables["choice"], "--task", "choice", "--dry-run")
    assert code == 0, said
    rows = [json.loads(line) for line in tables["choice"].read_text(encoding="utf-8").splitlines()]
    assert said.count("<start>") == said.count("<delimiter>") == said.count("<extract>") == 6
    shown = [row for row in rows if f"<start> {row['context']} <delimiter> {row['ending1']} <extract>" in said]
    assert len(shown) == 3
    assert "answers: 0 " in said
    assert "nothing was trained" in said
    code, said = ensue("finetune", model, tables["similarity"], "--task", "similarity", "--dry-run")
    assert code == 0
    assert "4.7 (classes 4: 0.30, 5: 0.70)" in said or "0.3 (classes 0: 0.70, 1: 0.30)" in said
    assert list(tmp_path.iterdir()) == []
