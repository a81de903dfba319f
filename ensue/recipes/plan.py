"""What a training run will take, by arithmetic, before anything runs: memory, FLOPs, time, how to share the work."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Literal

from ensue.model.config import GPTConfig
from ensue.model.presets import PRESETS, preset
from ensue.recipes.papers import GPT3_TOKENS, RECIPES
from ensue.recipes.plan_memory import Layout, Memory, Precision, memory

PF_DAY = 1e15 * 86_400
"""FLOPs of a petaflop/s-day, the unit of GPT-3's table D.1."""

TOKENS_PER_PARAMETER = 20
"""Hoffmann et al. (2022): about what a given compute is best spent on. Taken where a paper gives no length."""

LONG_RUN = 10**12
"""Any length: it is only made to read a recipe's batch and optimizer from."""

TENSOR_SIZES = (2, 4, 8)
"""Pieces that layers are cut into: within one machine, whose links are fast enough for twice a layer."""

H100_FLOPS = 989e12
"""A second, dense bf16, of an H100 or H200 (NVIDIA's data sheet)."""

MOST_GPUS = 1 << 17
"""Where the search for enough of them ends."""

RECOMPUTE_COST = 4 / 3
"""Forward, backward, and the forward again: 8 FLOPs a weight and token instead of 6 (Chen et al. 2016)."""

CLEARLY_FASTER = 0.98
"""A more involved layout is chosen only if it takes at most this share of a simpler one's time."""


@dataclass(frozen=True, kw_only=True)
class Question:
    """What is asked. `memory` in bytes a GPU, `batch` in sequences, `flops` a second of one GPU at its peak in this
    precision, `utilisation` the share of it that a step reaches, counting the model's own FLOPs only."""

    name: str
    model: GPTConfig
    gpus: int
    memory: float
    tokens: float
    batch: int
    optimizer: Literal["adamw", "muon"]
    recipe: str
    gpus_per_node: int
    precision: Precision
    flops: float
    utilisation: float

    def __post_init__(self) -> None:
        for what, value in (("--gpus", self.gpus), ("--gpus-per-node", self.gpus_per_node), ("--batch", self.batch)):
            if value < 1:
                raise ValueError(f"{what} must be 1 or more, not {value}.")
        gigabytes = self.memory / 1e9
        for what, number in (("--memory", gigabytes), ("--tokens", self.tokens), ("--flops-per-gpu", self.flops)):
            if not (number > 0 and math.isfinite(number)):
                raise ValueError(f"{what} must be above 0, not {number:g}.")
        node = self.gpus_per_node
        if self.gpus > node and self.gpus % node:
            fitting = max(size for size in range(1, node) if not self.gpus % size)
            raise ValueError(
                f"{self.gpus} GPUs do not make whole machines of {node}: take {self.gpus // node * node}, or say how "
                f"many each machine has, such as --gpus-per-node {fitting}."
            )
        if not 0 < self.utilisation <= 1:
            raise ValueError(f"--mfu is a share of the peak, above 0 and at most 1, not {self.utilisation:g}; try 0.4.")


@dataclass(frozen=True)
class Option:
    """One way to share the run. `over` is how many bytes it lacks on a GPU (0 where it fits), `idle` the share of a
    step in which some processes wait for those with one sequence more."""

    layout: Layout
    memory: Memory
    over: float
    seconds: float
    idle: float

    @property
    def fits(self) -> bool:
        return self.over == 0


@dataclass(frozen=True)
class Plan:
    """The answer: every option that the batch allows, simplest first; the one to take, if any fits; what to change."""

    question: Question
    options: tuple[Option, ...]
    choice: Option | None
    advice: tuple[str, ...]

    @property
    def steps(self) -> int:
        return math.ceil(self.question.tokens / (self.question.batch * self.question.model.context))

    @property
    def rule_flops(self) -> float:
        """6 FLOPs a parameter and token, as GPT-3's table D.1 counts."""
        return 6.0 * self.question.model.parameters * self.question.tokens

    @property
    def flops(self) -> float:
        """What the matrix products and attention take (`GPTConfig.flops_per_token`)."""
        return self.question.model.flops_per_token(self.question.model.context) * self.question.tokens


def ask(
    name: str,
    *,
    gpus: int,
    memory_gb: float,
    tokens: float | None = None,
    batch: int | None = None,
    precision: Precision = "bf16",
    gpus_per_node: int = 8,
    flops: float = H100_FLOPS,
    utilisation: float = 0.4,
) -> Question:
    """The question about a preset; what is not said is the paper's own, or the nearest paper's."""
    model = preset(name)
    recipe = name.partition("-")[0]
    settings = RECIPES[recipe].train(model, LONG_RUN, None)
    if tokens is None:
        tokens = GPT3_TOKENS if recipe == "gpt3" else float(TOKENS_PER_PARAMETER * model.parameters)
    return Question(
        name=name,
        model=model,
        gpus=gpus,
        memory=memory_gb * 1e9,
        tokens=tokens,
        batch=batch if batch is not None else settings.batch.end,
        optimizer=settings.optimizer.kind,
        recipe=recipe,
        precision=precision,
        gpus_per_node=gpus_per_node,
        flops=flops,
        utilisation=utilisation,
    )


def make_plan(question: Question) -> Plan:
    """Weigh every layout of these GPUs, each with and without recomputing, at the largest micro-batch that fits."""
    options = tuple(_options(question))
    choice = _choose(options)
    advice = _what_would_fit(question, options) if choice is None else _advice(question, choice)
    return Plan(question, options, choice, advice)


def _options(question: Question) -> Iterator[Option]:
    for recompute in (False, True):
        for data, shard, tensor in _meshes(question):
            if data * shard > question.batch:
                continue  # some would never read a sequence
            yield _largest_micro_batch(question, Layout(data, shard, tensor, recompute=recompute))


def _meshes(question: Question) -> Iterator[tuple[int, int, int]]:
    """(data, shard, tensor), simplest first."""
    gpus, node, model = question.gpus, question.gpus_per_node, question.model
    yield gpus, 1, 1
    if gpus > node:
        yield gpus // node, node, 1
    if gpus > 1:
        yield 1, gpus, 1
    for tensor in TENSOR_SIZES:
        if tensor <= min(gpus, node) and not (gpus % tensor or model.heads % tensor or model.hidden % tensor):
            yield 1, gpus // tensor, tensor


def _largest_micro_batch(question: Question, layout: Layout) -> Option:
    """The layout with as many sequences at once as fit, up to all that a process has in a step; 1 if none do."""
    share = math.ceil(question.batch / layout.readers)
    rows = share
    while True:
        tried = replace(layout, rows=rows, micro_batches=math.ceil(share / rows))
        held = memory(question.model, tried, precision=question.precision, optimizer=question.optimizer)
        over = max(0.0, held.total - question.memory)
        if not over or rows == 1:
            return Option(tried, held, over, _seconds(question, tried), 1 - question.batch / (layout.readers * share))
        rows = math.ceil(rows / 2)


def _seconds(question: Question, layout: Layout) -> float:
    share = math.ceil(question.batch / layout.readers)
    flops = question.model.flops_per_token(question.model.context) * question.tokens
    at_peak = flops / (question.gpus * question.flops * question.utilisation)
    return at_peak * (layout.readers * share / question.batch) * (RECOMPUTE_COST if layout.recompute else 1.0)


def _choose(options: tuple[Option, ...]) -> Option | None:
    """The fastest that fits, and of those that are nearly as fast the simplest."""
    best: Option | None = None
    for option in options:
        if option.fits and (best is None or option.seconds < CLEARLY_FASTER * best.seconds):
            best = option
    return best


def _advice(question: Question, choice: Option) -> tuple[str, ...]:
    layout, said = choice.layout, []
    if choice.idle > 0.02:
        readers = layout.readers
        near = max(readers, round(question.batch / readers) * readers)
        said.append(
            f"a batch of {question.batch:,} sequences over {readers:,} processes that read leaves {choice.idle:.0%} of "
            f"a step idle; a batch of {near:,} would leave none (--batch {near})"
        )
    return (*said, command(question, layout))


def command(question: Question, layout: Layout) -> str:
    """What to type to run it."""
    nodes, gpus = max(1, question.gpus // question.gpus_per_node), min(question.gpus, question.gpus_per_node)
    start = f"torchrun --standalone --nproc-per-node {gpus}"
    if nodes > 1:
        start = f"torchrun --nnodes {nodes} --nproc-per-node {gpus} --rdzv-backend c10d --rdzv-endpoint HOST:29500"
    parts = [
        "ensue" if question.gpus == 1 else f"{start} -m ensue.cli --",
        f"train DATA --run RUN --recipe {question.recipe} --preset {question.name}",
        f"--batch.end {question.batch} --micro_batch {layout.rows}",
    ]
    for name, size in (("data", layout.data), ("shard", layout.shard), ("tensor", layout.tensor)):
        parts += [f"--parallel.{name} {size}"] if size > 1 else []
    return " ".join([*parts, *(["--recompute true"] if layout.recompute else [])])


def _what_would_fit(question: Question, options: tuple[Option, ...]) -> tuple[str, ...]:
    """More GPUs, larger ones, or a smaller model: whichever there is."""
    said = []
    if options:
        leanest = min(options, key=lambda option: option.over)
        need = math.ceil(leanest.memory.total / 1e9)
        said.append(f"GPUs with {need:,} GB: the leanest layout ({leanest.layout.name}) needs so much of each")
    else:
        said.append(f"a batch of at least {question.gpus} sequences, one for each GPU: --batch {question.gpus}")
    for gpus in _doublings(question.gpus):
        found = _choose(tuple(_options(replace(question, gpus=gpus))))
        if found is not None:
            said.append(f"{gpus:,} of these GPUs: {found.layout.name} takes {found.memory.total / 1e9:,.1f} GB of each")
            break
    smaller = [
        name
        for name, model in PRESETS.items()
        if name.partition("-")[0] == question.recipe and model.parameters < question.model.parameters
        if _choose(tuple(_options(replace(question, name=name, model=model)))) is not None
    ]
    if smaller:
        largest = max(smaller, key=lambda name: PRESETS[name].parameters)
        said.append(f"a smaller model: {largest} fits here")
    return tuple(said)


def _doublings(gpus: int) -> Iterator[int]:
    gpus *= 2
    while gpus <= MOST_GPUS:
        yield gpus
        gpus *= 2
