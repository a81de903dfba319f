"""Everything that decides a training run, as one typed value that is saved with the run."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, is_dataclass, replace
from typing import Any, Literal

from ensue.core.config import from_dict, suggest, to_dict
from ensue.core.device import Precision
from ensue.model.config import GPTConfig
from ensue.model.patterns import TwoWay
from ensue.model.presets import modern
from ensue.tokens.masking import Masking
from ensue.tokens.stream import BatchRamp
from ensue.train.optimizer import OptimizerConfig
from ensue.train.parallel import ParallelConfig
from ensue.train.schedule import Schedule
from ensue.train.spikes import SpikeConfig

OF_THE_SURROUNDINGS = frozenset(
    {
        "data",
        "recipe",
        "minutes",
        "evaluate_every",
        "evaluate_tokens",
        "final_tokens",
        "save_every",
        "save_in_background",
        "keep_checkpoints",
        "keep_best",
        "sample_every",
        "sample_prompts",
        "norms_every",
        "tensorboard",
        "parallel",
        "reasons",
    }
)
"""Fields of a run that change no weight beyond rounding: what it tells and keeps, where its data lies, and how many
processes share the work."""

NOT_SET_BY_NAME = {
    "data": "the text, or the folder of prepared data, comes first, as in `ensue train TEXT --run RUN`",
    "reasons": "it tells why the recipe chose what it chose",
}
"""Fields that are only told, and what to know of each."""


@dataclass(frozen=True, kw_only=True)
class RunConfig:
    """A resolved run. Periods are in steps, 0 for never; `batch` counts sequences of the model's context.

    `warm_start` is how often embeddings and head are fitted to the corpus's bigram counts before the first step.
    `keep_checkpoints` counts the newest, 0 keeps all; `keep_best` keeps the one with the lowest held-out loss as well,
    and saves it where it was not due. `save_in_background` takes a second copy of weights and optimizer in memory.
    `norms_every` is how often the norms of each layer's gradient and update are told. `fp8` has the blocks multiply in
    fp8, on GPUs that can. `masked` is the share of tokens that are hidden and foretold from both sides, as BERT's
    (Devlin et al. 2019, section 3.1: 0.15), instead of the next token; the model's last row is then the mask token's.
    """

    model: GPTConfig
    optimizer: OptimizerConfig
    schedule: Schedule
    batch: BatchRamp
    micro_batch: int
    data: str
    warm_start: int = 0
    recipe: str = "auto"
    minutes: float | None = None
    separate_documents: bool = False
    masked: float = 0.0
    precision: Precision = "auto"
    fp8: bool = False
    device: str = "auto"
    compile: Literal["auto", "on", "off"] = "auto"
    seed: int = 0
    parallel: ParallelConfig = field(default_factory=ParallelConfig)
    evaluate_every: int = 200
    evaluate_tokens: int = 65_536
    final_tokens: int = 1_000_000
    save_every: int = 500
    save_in_background: bool = True
    keep_checkpoints: int = 2
    keep_best: bool = True
    sample_every: int = 0
    sample_prompts: tuple[str, ...] = ("",)
    norms_every: int = 0
    tensorboard: bool = False
    spikes: SpikeConfig = field(default_factory=SpikeConfig)
    reasons: tuple[str, ...] = field(default=())

    @property
    def masking(self) -> Masking | None:
        """Which tokens are hidden, and how; None where the next token is foretold."""
        return Masking(self.masked, self.model.vocab - 1) if self.masked else None


def with_changes(config: RunConfig, changes: Mapping[str, str]) -> RunConfig:
    """`config` with fields set from text, by dotted path (`model.layers`) or by bare name where only one part has it.

    Raises ValueError for an unknown or ill-typed field, naming the nearest right one, and for an objective that the
    model's pattern does not allow.
    """
    data = to_dict(config)
    known = _paths(config)
    for name, text in changes.items():
        name = name.replace("-", "_")
        if name in NOT_SET_BY_NAME:
            raise ValueError(f"--{name} cannot be set: {NOT_SET_BY_NAME[name]}.")
        matches = [name] if name in known else [path for path in known if path.split(".")[-1] == name]
        if not matches:
            raise ValueError(
                f"there is no option --{name}{suggest(name, [*known, *(p.split('.')[-1] for p in known)])}"
            )
        if len(matches) > 1:
            raise ValueError(f"--{name} could be any of {', '.join('--' + path for path in matches)}; say which.")
        *parents, last = matches[0].split(".")
        part = data
        for parent in parents:
            part = part[parent]
        part[last] = _value(text)
    changed = from_dict(RunConfig, data)
    check_objective(changed)
    said = any(name.replace("-", "_").split(".")[-1] == "mlp_width" for name in changes)
    return changed if said else replace(changed, model=_with_derived_mlp(changed.model, config.model))


def check_objective(config: RunConfig) -> None:
    """Raises ValueError where what is foretold and what each position sees do not go together."""
    two_way = any(isinstance(pattern, TwoWay) for pattern in config.model.patterns)
    if not 0 <= config.masked < 1:
        raise ValueError(f"--masked is a share of the tokens, 0 to below 1, not {config.masked}; BERT's is 0.15.")
    if two_way and not config.masked:
        raise ValueError(
            "with a two-way pattern each token sees the next one, and nothing is learnt from foretelling it; have "
            "tokens hidden with --masked 0.15, or type --recipe bert."
        )
    if config.masked and not two_way:
        raise ValueError(
            "hidden tokens are foretold from both sides, which a pattern that only looks back cannot do; type "
            '--patterns \'[{"kind": "TwoWay"}]\', or --recipe bert.'
        )
    if config.masked and config.warm_start:
        raise ValueError("a warm start's bigrams foretell the next token, not hidden ones; type --warm_start 0.")


def with_mask_token(config: RunConfig, vocabulary: int) -> RunConfig:
    """`config` with a row for the mask token behind a tokenizer's `vocabulary`, where tokens are hidden."""
    if not config.masked or config.model.vocab > vocabulary:
        return config
    return replace(config, model=replace(config.model, vocab=vocabulary + 1))


def is_field(name: str) -> bool:
    """Whether `with_changes` knows this name."""
    parts = (RunConfig, GPTConfig, OptimizerConfig, Schedule, BatchRamp, SpikeConfig, ParallelConfig)
    return name.replace("-", "_").split(".")[-1] in {entry.name for part in parts for entry in fields(part)}


def _with_derived_mlp(model: GPTConfig, before: GPTConfig) -> GPTConfig:
    """The gated MLP's width follows the model's, where it was the one that `modern` derives from it."""
    if model.mlp_width is None or model.width == before.width:
        return model
    derived = [modern(layers=1, width=config.width, heads=config.heads).mlp_width for config in (before, model)]
    return replace(model, mlp_width=derived[1]) if before.mlp_width == derived[0] else model


def _paths(config: Any, prefix: str = "") -> list[str]:
    """Dotted paths of every field that can be set."""
    paths = []
    for entry in fields(config):
        value = getattr(config, entry.name)
        path = f"{prefix}{entry.name}"
        if is_dataclass(value) and not isinstance(value, type):
            paths += _paths(value, f"{path}.")
        else:
            paths.append(path)
    return paths


def _value(text: str) -> Any:
    """Numbers, true/false/null and lists are read as JSON; anything else is text."""
    try:
        return json.loads(text)
    except ValueError:
        return None if text.lower() == "none" else text
