"""A run that was cut in two is the run that was not, to the bit; a checkpoint that is not whole is refused by name."""

import json
import resource
import shutil
from contextlib import contextmanager

import pytest
import torch
from safetensors import safe_open

from ensue.core.files import CHECKSUMS, write_checksums
from ensue.loss.next_token import NextToken
from ensue.loss.types import Loss
from ensue.model.presets import gpt, gpt2, modern
from ensue.model.weights import load_model, save_model
from ensue.model.weights.huggingface import config_text, stored_tensors
from ensue.tokens.stream import BatchRamp
from ensue.train.checkpoint import gather, load_checkpoint, write_checkpoint
from ensue.train.loop import Stop, run_steps
from ensue.train.optimizer import OptimizerConfig
from ensue.train.schedule import Schedule

SIZE = {"layers": 2, "width": 16, "heads": 2, "context": 8, "vocab": 13}
FILES = ["model.safetensors", "optimizer.safetensors", "training.json", "config.json", CHECKSUMS]


class Tempered(NextToken):
    """An objective with a state that every step changes: the loss counts a little less each time."""

    def __init__(self):
        super().__init__()
        self.seen = 0

    def loss(self, model, batch):
        self.seen += 1
        loss = super().loss(model, batch)
        return Loss(loss.total * 0.9**self.seen, loss.count)

    def state_dict(self):
        return {"seen": self.seen}

    def load_state_dict(self, state):
        self.seen = state["seen"]


def contents(engine, step):
    files = {"config.json": config_text(engine.model).encode()}
    tensors = {"model.safetensors": stored_tensors(engine.model)}
    return gather(engine, step=step, model_files=files, model_tensors=tensors, record={"mine": step})


def save(engine, folder, step):
    return write_checkpoint(contents(engine, step), folder)


def train(engine, start, end):
    """The rows that would be logged, without their seconds."""
    steps = run_steps(engine, start=start, hooks=[], stop=Stop())
    return [
        (step.index, dict(step.means), step.grad_norm, step.lr, step.tokens)
        for _, step in zip(range(start, end), steps, strict=False)
    ]


def everything(engine):
    weights = {name: parameter.detach().clone() for name, parameter in engine.model.named_parameters()}
    return weights | {name: tensor.clone() for name, tensor in engine.optimizer.tensors().items()}


def same(one, other):
    return one.keys() == other.keys() and all(torch.equal(tensor, other[name]) for name, tensor in one.items())


@pytest.mark.parametrize("objective", [NextToken, Tempered])
@pytest.mark.parametrize("kind", ["adamw", "muon"])
@pytest.mark.parametrize(
    ("config", "precision"), [(gpt(**SIZE), "fp32"), (gpt(**SIZE), "bf16"), (modern(**SIZE), "fp32")]
)
def test_ten_steps_are_five_and_five_to_the_bit(make_engine, make_stream, tmp_path, config, precision, kind, objective):
    """With dropout (GPT's 0.1), a batch that grows, uneven micro-batches, and a cut; the schedule is the saved one."""

    def fresh(model=None, **changes):
        return make_engine(
            config,
            model=model,
            stream=make_stream((1, 3), BatchRamp(2, 6, steps=8)),
            objective=objective(),
            optimizer=OptimizerConfig(kind=kind, lr=1e-2, weight_decay=0.1),
            clip=0.5,
            precision=precision,
            **changes,
        )

    schedule = Schedule("trapezoid", warmup=2, steps=10, decay=0.4)
    straight = fresh(schedule=schedule)
    rows = train(straight, 0, 10)
    assert len(rows) == 10

    first = fresh(schedule=schedule)
    rows_before = train(first, 0, 5)
    save(first, tmp_path / "5", 5)
    del first
    torch.manual_seed(12345)

    second = fresh(model=load_model(tmp_path / "5"), schedule=Schedule("constant", warmup=0, steps=7))
    progress = load_checkpoint(second, tmp_path / "5")
    assert (progress.step, progress.tokens, progress.schedule) == (5, rows[4][4], schedule)
    assert progress.record == {"mine": 5}
    rows_after = train(second, progress.step, 10)
    assert rows_before + rows_after == rows
    assert same(everything(second), everything(straight))


@pytest.fixture(scope="module")
def saved_folder(tmp_path_factory):
    return tmp_path_factory.mktemp("saved") / "3"


@pytest.fixture
def saved(make_engine, saved_folder):
    """A checkpoint after three steps, and the engine that wrote it."""
    engine = make_engine()
    train(engine, 0, 3)
    save(engine, saved_folder, 3)
    return engine, saved_folder


def test_nothing_in_it_could_run_code(saved):
    _, folder = saved
    assert sorted(path.name for path in folder.iterdir()) == sorted(FILES)
    for path in folder.iterdir():
        if path.suffix == ".json":
            json.loads(path.read_text())
        else:
            with safe_open(path, framework="pt") as file:
                assert list(file.keys())


def test_before_the_first_step_it_can_be_saved_and_loaded(make_engine, tmp_path):
    one = make_engine()
    save(one, tmp_path / "0", 0)
    other = make_engine(model=load_model(tmp_path / "0"))
    assert load_checkpoint(other, tmp_path / "0").step == 0
    assert train(other, 0, 3) == train(one, 0, 3)


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("damage", ["truncated", "bit-flipped", "missing", "empty"])
def test_a_damaged_file_is_named_and_nothing_is_taken_from_it(make_engine, saved, tmp_path, name, damage):
    folder = shutil.copytree(saved[1], tmp_path / "3")
    path = folder / name
    whole = path.read_bytes()
    middle = len(whole) // 2
    if damage == "missing":
        path.unlink()
    else:
        changed = {
            "truncated": whole[:-7],
            "bit-flipped": whole[:middle] + bytes([whole[middle] ^ 4]) + whole[middle + 1 :],
            "empty": b"",
        }
        path.write_bytes(changed[damage])
    engine = make_engine()
    # A flipped bit in the checksums themselves accuses the file they belong to.
    with pytest.raises(ValueError, match=str(folder) if name == CHECKSUMS else str(path)):
        load_checkpoint(engine, folder)
    assert (engine.optimizer.tensors(), engine.tokens) == ({}, 0)


def test_damage_with_matching_checksums_is_still_named(make_engine, saved, tmp_path):
    folder = shutil.copytree(saved[1], tmp_path / "3")
    path = folder / "optimizer.safetensors"
    path.write_bytes(path.read_bytes()[:-7])
    write_checksums(folder)
    with pytest.raises(ValueError, match=str(path)):
        load_checkpoint(make_engine(), folder)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"config": gpt2(**{**SIZE, "layers": 3})}, r"2\.\S+ is not trained there and AdamW"),
        ({"config": gpt2(**{**SIZE, "layers": 1})}, r"1\.\S+ is AdamW .* there and not trained here"),
        ({"config": gpt2(**{**SIZE, "width": 8})}, r"0\.\S+ is AdamW \(16,\) there and AdamW \(8,\) here"),
        ({"optimizer": OptimizerConfig(kind="muon")}, r"0\.\S+ is AdamW \(16, 16\) there and Muon \(16, 16\) here"),
    ],
)
def test_another_models_or_optimizers_checkpoint_is_refused(make_engine, saved, change, message):
    engine = make_engine(**change)
    with pytest.raises(ValueError, match=rf"training\.json is of another model or optimizer: blocks\.{message}"):
        load_checkpoint(engine, saved[1])
    assert engine.optimizer.tensors() == {}


def test_another_format_is_refused(make_engine, saved, tmp_path):
    folder = shutil.copytree(saved[1], tmp_path / "3")
    path = folder / "training.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "format": 99}))
    write_checksums(folder)
    with pytest.raises(ValueError, match=r"training\.json is of format 99; this version of Ensue reads format 1"):
        load_checkpoint(make_engine(), folder)


def test_a_model_that_is_no_checkpoint_is_refused(make_engine, tmp_path):
    engine = make_engine()
    save_model(engine.model, tmp_path)
    with pytest.raises(ValueError, match=r"training\.json is missing: only a checkpoint of a run"):
        load_checkpoint(engine, tmp_path)


@contextmanager
def files_no_larger_than(size):
    """The operating system refuses to let any file of this process grow beyond `size` bytes."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize("stopped_at", ["config.json", "model.safetensors", "optimizer.safetensors"])
def test_what_cannot_be_written_leaves_the_checkpoints_that_were(make_engine, tmp_path, stopped_at):
    engine = make_engine()
    train(engine, 0, 3)
    save(engine, tmp_path / "3", 3)
    before = {path.name: path.read_bytes() for path in (tmp_path / "3").iterdir()}
    kept = everything(engine)
    train(engine, 3, 4)
    assert len(before["model.safetensors"]) < len(before["optimizer.safetensors"])
    for target in ("3", "4"):
        with files_no_larger_than(len(before[stopped_at]) - 1), pytest.raises(OSError, match=r"(?i)too large"):
            save(engine, tmp_path / target, 4)
    assert [path.name for path in tmp_path.iterdir()] == ["3"]
    assert {path.name: path.read_bytes() for path in (tmp_path / "3").iterdir()} == before
    again = make_engine(model=load_model(tmp_path / "3"))
    load_checkpoint(again, tmp_path / "3")
    assert same(everything(again), kept)
    save(engine, tmp_path / "4", 4)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["3", "4"]
