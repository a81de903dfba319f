"""What `ensue train` does: text or data in, a config chosen and explained, a run trained or continued."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from ensue.core.device import choose_device
from ensue.core.run import RunFolder
from ensue.model.presets import preset
from ensue.recipes.crew import place_of_this
from ensue.recipes.data import SMALLEST_VOCABULARY, Data, is_data, prepare_files
from ensue.recipes.dial import (
    EVALUATION_SHARE,
    FINAL_SHARE,
    FORWARD_SPEED,
    UNKNOWN_LENGTH,
    choose_by_minutes,
    largest_vocabulary,
    tokens_per_second,
)
from ensue.recipes.display import Display
from ensue.recipes.fp8 import check_fp8
from ensue.recipes.mixtures import shares_of, show_shares
from ensue.recipes.papers import RECIPES
from ensue.recipes.plan_check import check_fits
from ensue.recipes.run_config import RunConfig, with_changes, with_mask_token
from ensue.recipes.training import RunResult, resume_run, start_run
from ensue.recipes.warm_start import LARGEST_VOCABULARY
from ensue.tokens.tokenizer import load_tokenizer
from ensue.train.parallel import restarted

DEFAULT_MINUTES = 30.0
"""Of a run of which neither minutes nor steps are said."""


def start(
    texts: Sequence[Path],
    run_path: Path,
    *,
    recipe: str,
    preset_name: str | None,
    minutes: float | None,
    steps: int | None,
    seed: int,
    vocab: int | None,
    tokenizer: Path | None,
    changes: Mapping[str, str],
    display: Display,
) -> None:
    """Train a new run at `run_path`. Raises ValueError for what does not fit together, before anything is written."""
    began = time.monotonic()
    _check_said(minutes, steps)
    if minutes is None and steps is None and recipe == "auto" and preset_name is None:
        minutes = DEFAULT_MINUTES
        display.say(f"neither --minutes nor --steps was given: taking {minutes:g} minutes")
    if preset_name is not None:
        preset(preset_name)
    recipe = "modern" if recipe == "auto" else recipe
    wanted = preset(preset_name or RECIPES[recipe].preset)
    trial = with_changes(RECIPES[recipe].train(wanted, 1, steps or UNKNOWN_LENGTH), changes)
    device = choose_device(trial.device)
    place = place_of_this(trial)
    check_fp8(trial, device)
    if preset_name is not None:  # its vocabulary will be that of the text
        check_fits(replace(trial, model=replace(trial.model, vocab=SMALLEST_VOCABULARY)), place, device)
    if restarted() and (run_path / "checkpoints").is_dir() and RunFolder(run_path).checkpoints():
        display.say(f"started again after a process was lost: continuing {run_path}")
        resume(run_path, changes={}, texts=(), tokenizer=None, allowed=False, display=display)
        return
    run = RunFolder.create(run_path)
    deadline = None if minutes is None else began + (1 - FINAL_SHARE) * minutes * 60
    with run.locked(), run.removed_unless_begun():
        largest = LARGEST_VOCABULARY if minutes is None else largest_vocabulary(minutes)
        data = _data(texts, run_path, seed=seed, vocab=vocab, tokenizer=tokenizer, largest=largest, display=display)
        config = _config(
            data,
            recipe=recipe,
            preset_name=preset_name,
            minutes=minutes,
            deadline=deadline,
            steps=steps,
            seed=seed,
            changes=changes,
        )
        _check_length(data, config)
        check_fits(config, place, device)
        config = replace(config, data=data_reference(data, run_path))
        explain(config, display)
        if len(data.parts) > 1:
            _explain_mixture(data, config, timed=deadline is not None, display=display)
        result = start_run(run, config, display=display, deadline=deadline)
    report(result, run_path, display)


def resume(
    run_path: Path,
    *,
    changes: Mapping[str, str],
    texts: Sequence[Path],
    tokenizer: Path | None,
    allowed: bool,
    display: Display,
) -> None:
    """Continue the run at `run_path` from its newest whole checkpoint; with other fields or data where `allowed`.

    Raises ValueError for a `tokenizer` that is not the run's own.
    """
    run = RunFolder.open(run_path)
    with run.locked():
        if tokenizer is not None and run.checkpoints():
            own = load_tokenizer(run.checkpoints()[-1])
            if load_tokenizer(tokenizer).fingerprint != own.fingerprint:
                raise ValueError(
                    f"the tokenizer differs: {run_path} was trained with another one than {tokenizer}, and its weights "
                    "mean nothing with this one; leave --tokenizer out."
                )
        result = resume_run(run, display=display, changes=changes, texts=texts, allowed=allowed)
    report(result, run_path, display)


def data_reference(data: Data, run_path: Path) -> str:
    """How a run names its data: by a relative path where it is inside the run, so that the run can be moved."""
    inside = data.path.is_relative_to(run_path.resolve())
    return str(data.path.relative_to(run_path.resolve()) if inside else data.path)


def _check_said(minutes: float | None, steps: int | None) -> None:
    if minutes is not None and steps is not None:
        raise ValueError("--minutes chooses the number of steps and --steps says it; give only one of the two.")
    if minutes is not None and minutes <= 0:
        raise ValueError(f"--minutes {minutes} is no time to train; try --minutes 3.")
    if steps is not None and steps < 1:
        raise ValueError(f"--steps {steps} is no step at all; try --steps 1000.")


def _check_length(data: Data, config: RunConfig) -> None:
    tokens, context = min(len(part.train.tokens) for part in data.parts), config.model.context
    if tokens < context:
        raise ValueError(
            f"the text{_smallest_part(data)} makes {tokens:,} training tokens, less than one context of {context:,}; "
            f"give more text, or type --context {1 << (tokens.bit_length() - 1)}"
        )


def _smallest_part(data: Data) -> str:
    """Which of a mixture's sources it is that is too small."""
    smallest = min(data.parts, key=lambda part: len(part.train.tokens))
    return f" of {smallest.name}" if smallest.name else ""


def explain(config: RunConfig, display: Display) -> None:
    """Say what was chosen and why."""
    model = config.model
    display.heading("the run")
    display.say(
        f"{model.parameters:,} parameters: {model.layers} layers of width {model.width}, {model.heads} heads, "
        f"context {model.context}, vocabulary {model.vocab:,}"
    )
    ramp = f"{config.batch.start} to {config.batch.end}" if config.batch.steps else str(config.batch.end)
    display.say(
        f"{config.schedule.steps:,} steps of {ramp} x {model.context} tokens, {config.optimizer.kind}, "
        f"seed {config.seed}"
    )
    for reason in config.reasons:
        display.say(f"  - {reason}", style="dim")


def _explain_mixture(data: Data, config: RunConfig, *, timed: bool, display: Display) -> None:
    sequences = config.batch.before(config.schedule.steps)
    shares = shares_of(data, sequences, config.model.context, config.seed)
    display.say(show_shares(shares, sequences * config.model.context))
    if timed and any(len(share.weight.points) > 1 for share in shares):
        display.say(
            f"weights follow these {config.schedule.steps:,} steps, and the clock may end the run before or after; "
            "with --steps it ends with them"
        )


def report(result: RunResult, run_path: Path, display: Display) -> None:
    """Say how the run ended and what to type next."""
    loss = result.held_out
    display.heading("done")
    for name, part in loss.parts.items():
        display.say(f"held-out text of {name}: {part}")
    generate = f'ensue generate {run_path} --prompt "..." --temperature 0.8'
    display.say(
        f"held-out text: {loss} ({loss.bytes / 1e6:.2f} MB)\n"
        f"loss curve: {run_path / 'plots' / 'loss.png'}\n"
        f"next: {generate if loss.bits_per_byte is not None else 'ensue finetune --help'}"
    )


def _data(
    texts: Sequence[Path],
    run_path: Path,
    *,
    seed: int,
    vocab: int | None,
    tokenizer: Path | None,
    largest: int,
    display: Display,
) -> Data:
    if len(texts) == 1 and is_data(texts[0]):
        if vocab is not None or tokenizer is not None:
            raise ValueError(f"{texts[0]} is tokenised already; --vocab and --tokenizer go with plain text.")
        return Data(texts[0].resolve())
    chosen = load_tokenizer(tokenizer) if tokenizer is not None else None
    out = (run_path / "data").resolve()
    return prepare_files(texts, out, vocab=vocab, tokenizer=chosen, seed=seed, display=display, largest=largest)


def _config(
    data: Data,
    *,
    recipe: str,
    preset_name: str | None,
    minutes: float | None,
    deadline: float | None,
    steps: int | None,
    seed: int,
    changes: Mapping[str, str],
) -> RunConfig:
    """The recipe's config with the user's changes; what depends on the model is worked out for the changed model."""
    if deadline is not None and preset_name is None:
        assert minutes is not None
        return choose_by_minutes(data, recipe, minutes=minutes, deadline=deadline, seed=seed, changes=changes)
    chosen = RECIPES[recipe]
    model = replace(preset(preset_name or chosen.preset), vocab=data.tokenizer.vocab_size)
    tokens = data.facts.train_tokens
    first = with_mask_token(with_changes(chosen.train(model, tokens, steps), changes), data.tokenizer.vocab_size)
    plan = chosen.train(first.model, tokens, steps)
    config = with_changes(plan, changes)
    if deadline is not None:
        config = with_changes(_fitted(config, deadline), changes)
    elif steps is None and config.batch != plan.batch:
        # The recipe's epochs are cut into its own batches; with another batch they make more steps or fewer.
        in_batches = round(tokens * plan.batch.end / config.batch.end)
        config = with_changes(chosen.train(first.model, in_batches, None), changes)
    return replace(config, seed=seed, minutes=minutes)


def _fitted(config: RunConfig, deadline: float) -> RunConfig:
    """The run with as many steps as there are until `deadline` at this machine's measured speed."""
    speed = tokens_per_second(config)
    tokens = speed * max(1.0, deadline - time.monotonic())
    steps = max(10, round(tokens / (config.batch.end * config.model.context)))
    planned = RECIPES[config.recipe].train(config.model, round(tokens), steps)
    reason = f"timed here: {speed:,.0f} tokens/s, which makes {steps:,} steps until the time is up"
    return replace(
        planned,
        evaluate_tokens=int(EVALUATION_SHARE * FORWARD_SPEED * tokens / 10),
        final_tokens=max(16_384, int(FINAL_SHARE * FORWARD_SPEED * tokens / 2)),
        reasons=(*planned.reasons, reason),
    )
