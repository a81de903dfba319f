"""Everything that decides a fine-tuning run, as one typed value that is saved with the run."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from ensue.core.device import Precision
from ensue.model.lora import LoRA
from ensue.train.optimizer import OptimizerConfig

FineTuningTask = Literal["classify", "entail", "similarity", "choice", "instruct"]
"""The four tasks of GPT (2018), and answering: conversations of which the answers are scored."""

MICRO_TOKENS = 4096
"""Tokens of a micro-batch, padding included; a step's examples are cut by it, and weights do not depend on it beyond
rounding and which dropout is drawn."""

PAPER_RATE = 6.25e-5
ADAPTER_RATE = 2e-4
"""What LoRA was tuned with on GPT-2 (Hu et al. 2021, appendix D)."""

Metric = Literal["auto", "accuracy", "f1", "matthews", "pearson", "spearman", "loss"]


def paper_optimizer(*, lr: float = PAPER_RATE, weight_decay: float = 0.01, clip: float | None = 1.0) -> OptimizerConfig:
    """Adam as GPT was fine-tuned with (2018, section 4.1, and its code); the decay is of matrices only."""
    return OptimizerConfig(lr=lr, beta1=0.9, beta2=0.999, epsilon=1e-8, weight_decay=weight_decay, clip=clip)


@dataclass(frozen=True, kw_only=True)
class FineTuneConfig:
    """A resolved fine-tuning run; the defaults are those of GPT (2018, sections 3.2 and 4.1).

    `model` is where the weights began, `data` and `valid` are tables of examples. `held_out` is the share of `data`
    that is held out for validation where there is no `valid`, or how many rows from 1 up, drawn by `split_seed`. The
    best model is measured on `test` at the end.
    `auxiliary` is lambda, of the paper's four tasks. `warmup` is a share of all updates. `dropout` is that of
    embeddings, attention, residuals and what the head reads. `evaluate_every` and `save_every` are in steps, 0 for once
    an epoch. `metric` decides which checkpoint is the best. `lora` trains an adapter instead of the model's own
    weights.
    """

    task: FineTuningTask
    model: str
    data: str
    valid: str | None = None
    test: str | None = None
    held_out: float = 0.1
    split_seed: int = 0
    columns: tuple[str, ...] = ()
    optimizer: OptimizerConfig = field(default_factory=paper_optimizer)
    epochs: int = 3
    batch: int = 32
    warmup: float = 0.002
    auxiliary: float = 0.5
    dropout: float = 0.1
    micro_tokens: int = MICRO_TOKENS
    precision: Precision = "auto"
    device: str = "auto"
    seed: int = 0
    metric: Metric = "auto"
    lora: LoRA | None = None
    evaluate_every: int = 0
    save_every: int = 0
    save_in_background: bool = True
    keep_checkpoints: int = 1

    def __post_init__(self) -> None:
        if self.epochs < 1:
            raise ValueError(f"--epochs {self.epochs} is no training at all; try --epochs 3.")
        if self.held_out < 0:
            raise ValueError(f"--held-out {self.held_out} should be a share such as 0.1, or a number of rows.")
        if not 0 <= self.warmup <= 1:
            raise ValueError(f"--warmup {self.warmup} should be a share of all updates, such as 0.002.")
        if not 0 <= self.dropout < 1:
            raise ValueError(f"--dropout {self.dropout} should be at least 0 and below 1.")
