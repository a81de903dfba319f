"""What `ensue finetune` does: a model and a table of examples in, a tuned model out, or a run continued."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

from ensue.core.config import from_dict, to_dict
from ensue.core.device import choose_device, choose_precision
from ensue.core.files import write_file_aside
from ensue.core.run import RunFolder
from ensue.generate.lm import LM
from ensue.generate.load import load
from ensue.recipes.display import Display
from ensue.recipes.environment import environment
from ensue.recipes.finetuning.config import FineTuneConfig
from ensue.recipes.finetuning.instruct_work import instruct_work, measure_answers
from ensue.recipes.finetuning.measuring import measure
from ensue.recipes.finetuning.task_work import task_work
from ensue.recipes.finetuning.tuning import TuneResult, Tuning, describe
from ensue.recipes.finetuning.work import Work
from ensue.recipes.machine import ready_machine
from ensue.recipes.resuming import newest_whole
from ensue.train.parallel import started_processes


def work_for(config: FineTuneConfig, lm: LM, *, resumed: bool) -> Work:
    """What the config's task gives the driver, from a loaded model, or where `resumed` a checkpoint of this run."""
    work = instruct_work if config.task == "instruct" else task_work
    return work(config, lm, resumed=resumed)


def finetune(config: FineTuneConfig, run_path: Path, *, display: Display) -> TuneResult:
    """Tune a model as `config` says, into a new run at `run_path`. Raises ValueError for what does not fit together,
    before anything is written, and RunFailed where the run ends early."""
    _refuse_processes()
    config = _resolved(config)
    lm = load(config.model, device="cpu")
    work = work_for(config, lm, resumed=False)
    run = create_run(run_path)
    with run.locked(), run.removed_unless_begun():
        run.write_config({"config": to_dict(config), **environment()})
        run.tell("began", 0, environment())
        ready_machine(choose_device(config.device), config.precision, display)
        tuning = Tuning(run, config, work, display=display)
        explain(tuning, display)
        return _tested(tuning.train(start=0), run, config)


def resume(run_path: Path, *, display: Display) -> TuneResult:
    """Continue the run at `run_path` from its newest whole checkpoint, exactly. Raises ValueError where its examples
    are no longer what they were, or it is no fine-tuning run."""
    _refuse_processes()
    run = RunFolder.open(run_path)
    with run.locked():
        record = run.read_config()["config"]
        if record.get("kind") != FineTuneConfig.__name__:
            raise ValueError(f"{run_path} is no fine-tuning run; to continue it, type: ensue train --resume {run_path}")
        config = from_dict(FineTuneConfig, record)
        newest = newest_whole(run, display)
        work = work_for(config, load(newest, device="cpu"), resumed=True)
        ready_machine(choose_device(config.device), config.precision, display)
        tuning = Tuning(run, config, work, display=display)
        step = tuning.go_back_to(newest)
        run.tell("continued", step, environment())
        display.say(f"continuing {run_path} from step {step:,} of {tuning.engine.schedule.steps:,}")
        return _tested(tuning.train(start=step), run, config)


def create_run(path: Path) -> RunFolder:
    """A new run at `path`. Raises ValueError, saying what to type, where something is there."""
    try:
        return RunFolder.create(path)
    except ValueError as error:
        raise ValueError(
            f"{path} already exists. To continue it, type: ensue finetune --resume {path}\n"
            "To start another run, give --run a new name."
        ) from error


def explain(tuning: Tuning, display: Display) -> None:
    """Say what will be done."""
    config, engine = tuning.config, tuning.engine
    trained = sum(parameter.numel() for parameter in engine.model.parameters() if parameter.requires_grad)
    examples = len(engine.stream.documents(0))
    display.heading("the run")
    for line in tuning.work.told:
        display.say(line)
    total = sum(parameter.numel() for parameter in engine.model.parameters())
    kept = f" beside {total - trained:,} that stay as they are" if trained < total else ""
    display.say(
        f"{trained:,} parameters{kept}, {engine.schedule.steps:,} steps of {examples} examples "
        f"({config.epochs} epochs), lr {config.optimizer.lr:g}, {config.precision}, seed {config.seed}"
    )


def report(result: TuneResult, run_path: Path, display: Display) -> None:
    """Say how the run ended and what to type next."""
    display.heading("done")
    if result.readings:
        display.say(f"validation at the end: {describe(result.readings)}")
    if result.test_readings:
        display.say(f"test, by the best: {describe(result.test_readings)}")
    best = run_path / "best" if result.best != result.final else run_path
    if result.best != result.final:
        display.say(f"best in validation, at step {int(result.best.name):,}: {describe(result.best_readings)}")
    display.say(f"curves: {run_path / 'plots' / 'tuning.png'}")
    display.say(f"next, in Python:\n{_example(result.lm, best)}")


def _example(lm: LM, path: Path) -> str:
    if lm.tuned is None:
        return f'  ensue.load("{path}").chat("...")'
    second = {"classify": "", "entail": ', "..."', "similarity": ', "..."', "choice": ', ["...", "..."]'}
    return f'  ensue.load("{path}").classify("..."{second[lm.tuned.shape.task]})'


def _resolved(config: FineTuneConfig) -> FineTuneConfig:
    """With files by their whole paths, and a precision that is not measured again when the run is continued."""
    precision = choose_precision(config.precision, choose_device(config.device))
    valid, test = (None if path is None else str(Path(path).resolve()) for path in (config.valid, config.test))
    return replace(config, data=str(Path(config.data).resolve()), valid=valid, test=test, precision=precision)


def _tested(result: TuneResult, run: RunFolder, config: FineTuneConfig) -> TuneResult:
    """With what the best model makes of the test examples, also written to test.json."""
    if config.test is None:
        return result
    best, table = load(result.best, device=config.device), Path(config.test)
    if config.task == "instruct":
        found = measure_answers(best, table, config)
    else:
        found = measure(best, table, known_in=config.data)
    record = {"step": int(result.best.name), "file": config.test, **found}
    write_file_aside(run.path / "test.json", json.dumps(record, indent=1) + "\n")
    return replace(result, test_readings=found)


def _refuse_processes() -> None:
    if started_processes() > 1:
        raise ValueError("ensue finetune runs in one process; start it without torchrun.")
