"""The contenders of the training benchmark: each a process that steps when it is told to and reports what it took."""

from __future__ import annotations

import os
import resource
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Literal

import torch

from ensue.core.device import autocast, bf16_is_faster, product_rate
from ensue.core.memory import keep_freed_memory
from ensue.loss.next_token import NextToken
from ensue.model.config import GPTConfig
from ensue.model.gpt import GPT
from ensue.model.weights.huggingface import save_model
from ensue.tokens.batch import Batch
from ensue.train.engine import Engine
from ensue.train.optimizer import Optimizer, OptimizerConfig
from ensue.train.schedule import Schedule

OPTIMIZER = OptimizerConfig(lr=3e-4, beta1=0.9, beta2=0.95, weight_decay=0.1, clip=1.0)
SEED = 1
CPU = torch.device("cpu")


@dataclass(frozen=True)
class Shape:
    """A model, and the batch of one step: `rows` sequences of the model's whole context."""

    config: GPTConfig
    rows: int

    @property
    def tokens(self) -> int:
        return self.rows * self.config.context

    @property
    def flops(self) -> float:
        """FLOPs of one step, forward and backward."""
        return self.tokens * self.config.flops_per_token(self.config.context)


@dataclass(frozen=True)
class Variant:
    """One way to run the same step."""

    library: Literal["ensue", "transformers"]
    precision: Literal["fp32", "bf16"]
    compiled: bool

    @property
    def name(self) -> str:
        return f"{self.library} {'compiled' if self.compiled else 'eager'} {self.precision}"


@dataclass(frozen=True)
class RandomBatches:
    """The same random tokens for every contender: the batch of a step depends on the step alone."""

    shape: Shape

    def batches(self, step: int) -> Iterator[Batch]:
        generator = torch.Generator().manual_seed(SEED + step)
        size = (self.shape.rows, self.shape.config.context + 1)
        tokens = torch.randint(self.shape.config.vocab, size, generator=generator)
        yield Batch(tokens[:, :-1].contiguous(), tokens[:, 1:].contiguous(), torch.ones(size[0], size[1] - 1))

    def documents(self, step: int) -> list[Any]:
        return []


def serve_steps(connection: Connection, shape: Shape, variant: Variant, cache: str, threads: int) -> None:
    """Build the contender, report ready, then run one step for every message; None ends it.

    A reply is {"seconds", "loss", "peak_mb"}, or {"error"} and the end. `cache` is where compiled code is kept.
    """
    os.environ["TORCHINDUCTOR_CACHE_DIR"] = cache
    torch.set_num_threads(threads)
    try:
        run = (ensue_step if variant.library == "ensue" else transformers_step)(shape, variant)
        connection.send({"built_mb": _peak_mb()})
        while (index := connection.recv()) is not None:
            begun = time.perf_counter()
            loss = run(index)
            connection.send({"seconds": time.perf_counter() - begun, "loss": loss, "peak_mb": _peak_mb()})
    except Exception as error:
        connection.send({"error": f"{type(error).__name__}: {error}".splitlines()[0]})


def serve_products(connection: Connection, threads: int) -> None:
    """Report whether bf16 is worth trying, then the rate of square products, {"fp32", "bf16"} in GFLOP/s, each time."""
    torch.set_num_threads(threads)
    connection.send({"bf16_is_faster": bf16_is_faster()})
    # A processor without bf16 products emulates them, and gets a size it can finish.
    sizes = {torch.float32: 2048, torch.bfloat16: 2048 if bf16_is_faster() else 256}
    while connection.recv() is not None:
        rates = [product_rate(CPU, dtype, size=size, readings=3) / 1e9 for dtype, size in sizes.items()]
        connection.send(dict(zip(("fp32", "bf16"), rates, strict=True)))


def ensue_step(shape: Shape, variant: Variant, device: torch.device = CPU) -> Callable[[int], float]:
    """Ensue's engine, as a run wires it."""
    keep_freed_memory()
    model = GPT.build(shape.config, SEED).to(device)
    states = torch.compile(model.hidden, dynamic=False) if variant.compiled else None
    engine = Engine(
        model=model,
        objective=NextToken(states),
        stream=RandomBatches(shape),
        optimizer=Optimizer(model, OPTIMIZER),
        schedule=Schedule("constant", 0, 1),
        clip=OPTIMIZER.clip,
        device=device,
        precision=variant.precision,
        seed=SEED,
    )
    return lambda index: engine.step(index).loss


def transformers_step(shape: Shape, variant: Variant, device: torch.device = CPU) -> Callable[[int], float]:
    """A plain loop over their model with the same weights, batches, optimizer groups, clipping and targets."""
    from transformers import GPT2LMHeadModel
    from transformers.utils import logging

    logging.disable_progress_bar()
    assert OPTIMIZER.clip is not None
    with tempfile.TemporaryDirectory() as folder:
        save_model(GPT.build(shape.config, SEED), Path(folder))
        model = GPT2LMHeadModel.from_pretrained(folder).to(device)
    model.train()
    # A cache of keys and values is made by default even in training, where nobody reads it.
    model.config.use_cache = False
    model.loss_type = "ForCausalLM"
    parameters = list(model.parameters())
    optimizer = torch.optim.AdamW(
        [
            {"params": [each for each in parameters if each.dim() >= 2], "weight_decay": OPTIMIZER.weight_decay},
            {"params": [each for each in parameters if each.dim() < 2], "weight_decay": 0.0},
        ],
        lr=OPTIMIZER.lr,
        betas=(OPTIMIZER.beta1, OPTIMIZER.beta2),
        eps=OPTIMIZER.epsilon,
        fused=True,
    )
    forward = torch.compile(model, dynamic=False) if variant.compiled else model
    stream = RandomBatches(shape)
    clip = OPTIMIZER.clip

    def run(index: int) -> float:
        batch = next(stream.batches(index)).to(device)
        optimizer.zero_grad(set_to_none=True)
        with autocast(device, variant.precision):
            # `labels` are shifted inside and lose each row's last target; `shift_labels` says all targets outright.
            loss = forward(batch.tokens, labels=batch.tokens, shift_labels=batch.targets).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, clip)
        optimizer.step()
        return float(loss.detach())

    return run


def _peak_mb() -> int:
    """Most memory this process has held; macOS counts in bytes, Linux in KiB."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return round(peak / (1e6 if sys.platform == "darwin" else 1e6 / 1024))
