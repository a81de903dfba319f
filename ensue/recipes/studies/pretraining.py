"""The two models that are tuned: GPT's objective and BERT's, on the same text for as many steps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal

from ensue.core.run import RunFolder
from ensue.model.presets import gpt
from ensue.recipes.data import is_data, prepare_files
from ensue.recipes.dial import tokens_per_second
from ensue.recipes.display import Display
from ensue.recipes.papers import train_gpt
from ensue.recipes.run_config import with_changes
from ensue.recipes.start import resume, start
from ensue.recipes.studies.settings import AblationSettings, steps_of

Objective = Literal["gpt", "bert"]


def pretrain(settings: AblationSettings, objective: Objective, out: Path, *, display: Display) -> Path:
    """The run of this objective in the study's folder, finished: trained now, or as far as it is not yet."""
    run = out / "pretrained" / objective
    if (run / "final").is_dir():
        return run
    if run.is_dir() and RunFolder(run).checkpoints():
        resume(run, changes={}, texts=(), tokenizer=None, allowed=False, display=display)
        return run
    start(
        (_data(settings, out, display),),
        run,
        recipe=objective,
        preset_name=None,
        minutes=None,
        steps=settings.steps,
        seed=0,
        vocab=None,
        tokenizer=None,
        changes=_changes(settings),
        display=display,
    )
    return run


def steps_in(minutes: float | None, settings: AblationSettings, out: Path, *, display: Display) -> AblationSettings:
    """The settings with as many steps as GPT's objective takes in so many minutes here, or as a study in `out` was
    begun with; as they are where no minutes are given."""
    if minutes is None:
        return settings
    if minutes <= 0:
        raise ValueError(f"--minutes {minutes} is no time to train; try --minutes 12.")
    begun = steps_of(out)
    if begun is not None:
        return replace(settings, steps=begun)
    config = with_changes(train_gpt(gpt(vocab=settings.vocab), 1, settings.steps), _changes(settings))
    speed = tokens_per_second(config)
    steps = max(10, round(60 * minutes * speed / (settings.batch * settings.context)))
    display.say(f"{speed:,.0f} tokens/s here make {steps:,} steps in {minutes:g} minutes, for each objective")
    return replace(settings, steps=steps)


def held_out_reading(run: Path) -> dict[str, float]:
    """The last reading on held-out text, as metrics.jsonl has it."""
    readings = [row for row in RunFolder.open(run).rows() if "val_tokens" in row]
    return {name: value for name, value in readings[-1].items() if name.startswith("val_")} if readings else {}


def _changes(settings: AblationSettings) -> dict[str, str]:
    """What differs from GPT's recipe, as it would be typed."""
    size = {name: str(getattr(settings, name)) for name in ("layers", "width", "heads", "context")}
    no_dropout = {f"{place}_dropout": "0" for place in ("embedding", "attention", "residual")}
    batch = {f"batch.{end}": str(settings.batch) for end in ("start", "end")}
    return {**size, **no_dropout, **batch, "optimizer.lr": str(settings.lr), "sample_every": "0"}


def _data(settings: AblationSettings, out: Path, display: Display) -> Path:
    """The text as token shards, the same for both objectives."""
    texts: Sequence[Path] = [Path(text) for text in settings.texts]
    if len(texts) == 1 and is_data(texts[0]):
        return texts[0]
    if not is_data(out / "data"):
        prepare_files(texts, out / "data", vocab=settings.vocab, tokenizer=None, seed=0, display=display)
    return out / "data"
