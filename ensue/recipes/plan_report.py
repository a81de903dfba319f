"""A plan as tables for a person, or as JSON for a program."""

from __future__ import annotations

import json
from typing import Any

from rich.box import SIMPLE
from rich.table import Table

from ensue.recipes.display import Display
from ensue.recipes.plan import PF_DAY, Option, Plan

DAY = 86_400.0

NOTES = """rows: sequences at once. again: activations are made again in the backward pass (--recompute true).
weights: with those gathered from other shards, and bf16 copies. other: the allocator's, CUDA's and NCCL's."""


def show_plan(plan: Plan, display: Display) -> None:
    """Size, work and time; every layout with its memory by kind; the one to take, or what would have to change."""
    question, model = plan.question, plan.question.model
    display.heading(f"{question.name} on {question.gpus:,} x {question.memory / 1e9:,.0f} GB")
    display.say(
        f"{model.parameters:,} parameters: {model.layers} layers of width {model.width:,}, {model.heads} heads, "
        f"context {model.context:,}, vocabulary {model.vocab:,}\n"
        f"{question.tokens / 1e9:,.4g} billion tokens in {plan.steps:,} steps of {question.batch:,} x "
        f"{model.context:,}, {question.optimizer}, {question.precision} with fp32 master weights\n"
        f"{plan.flops:.3g} FLOPs with attention; {plan.rule_flops:.3g} by the papers' rule of 6 a parameter and token, "
        f"{plan.rule_flops / PF_DAY:,.4g} petaflop/s-days"
    )
    display.show(_table(plan))
    display.say(NOTES, style="dim")
    if plan.choice is None:
        display.say("Nothing fits. What would:", style="bold")
    else:
        layout = plan.choice.layout
        mesh = f"data {layout.data:,} x shard {layout.shard:,} x tensor {layout.tensor}"
        display.say(
            f"Take {layout.name} ({mesh}): {_time(plan.choice.seconds)} at {question.utilisation:.0%} of "
            f"{question.flops / 1e12:,.4g} TFLOP/s a GPU",
            style="bold",
        )
    for line in plan.advice:
        display.say(f"  {line}")


def plan_as_json(plan: Plan) -> str:
    """Everything that `show_plan` shows; bytes, seconds and FLOPs as numbers."""
    question, model = plan.question, plan.question.model
    record = {
        "preset": question.name,
        "parameters": model.parameters,
        "gpus": question.gpus,
        "memory_per_gpu": question.memory,
        "tokens": question.tokens,
        "batch": {"sequences": question.batch, "tokens": question.batch * model.context},
        "steps": plan.steps,
        "flops": {"total": plan.flops, "rule_6n": plan.rule_flops, "rule_6n_pf_days": plan.rule_flops / PF_DAY},
        "flops_per_gpu": question.flops,
        "mfu": question.utilisation,
        "precision": question.precision,
        "optimizer": question.optimizer,
        "options": [_record(option) for option in plan.options],
        "choice": None if plan.choice is None else _record(plan.choice),
        "advice": list(plan.advice),
    }
    return json.dumps(record)


def _record(option: Option) -> dict[str, Any]:
    layout = option.layout
    return {
        "name": layout.name,
        "data": layout.data,
        "shard": layout.shard,
        "tensor": layout.tensor,
        "micro_batch": layout.rows,
        "micro_batches": layout.micro_batches,
        "recompute": layout.recompute,
        "fits": option.fits,
        "over_bytes": option.over,
        "bytes": option.memory.total,
        "bytes_by_kind": option.memory.kinds,
        "seconds": option.seconds,
        "idle": option.idle,
    }


def _table(plan: Plan) -> Table:
    table = Table(title="GB on each GPU at a step's fullest moment", title_justify="left", title_style="", box=SIMPLE)
    table.collapse_padding, table.pad_edge = True, False
    table.add_column("layout", no_wrap=True)
    for name in ("rows", "weights", "grads", "optim.", "activ.", "head", "other", "total", "lacks", "time"):
        table.add_column(name, justify="right", no_wrap=True)
    for option in plan.options:
        layout, held = option.layout, option.memory
        kinds = (held.weights + held.gathered, held.gradients, held.optimizer, held.activations, held.head)
        cells = [
            layout.name + (" again" if layout.recompute else ""),
            str(layout.rows),
            *(_gigabytes(value) for value in (*kinds, held.allocator + held.framework, held.total)),
            "" if option.fits else _gigabytes(option.over),
            _time(option.seconds, short=True),
        ]
        table.add_row(*cells, style="bold" if option is plan.choice else "" if option.fits else "dim")
    return table


def _gigabytes(count: float) -> str:
    return f"{count / 1e9:,.1f}" if count < 1e11 else f"{count / 1e9:,.0f}"


def _time(seconds: float, *, short: bool = False) -> str:
    for size, name in ((DAY, "days"), (3600.0, "hours"), (60.0, "minutes")):
        if seconds >= 2 * size:
            return f"{seconds / size:,.1f} {name[0] if short else name}"
    return f"{seconds:,.1f} {'s' if short else 'seconds'}"
