"""How fast a model writes here, beside the memory's own speed, and where the rest of the time goes."""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass

import torch
from rich.bar import Bar
from rich.table import Table

from ensue.generate.engine.engine import Engine
from ensue.generate.engine.groups import groups_of
from ensue.generate.engine.passes import PackedPasses, Passes, PlainPasses
from ensue.generate.engine.requests import Request
from ensue.generate.packed import PackedModel, why_not_packed
from ensue.generate.packing import Precision
from ensue.model.config import GPTConfig
from ensue.model.gpt import GPT
from ensue.recipes.display import Display

PASS_TOKENS = 512

READ_BYTES = 1 << 29
"""Of the tensor whose reading gives the memory's speed: far more than any cache holds."""


@dataclass(frozen=True)
class WritingSpeed:
    """A model's writing, measured.

    first_seconds       from a prompt to its first new token
    tokens_per_second   of one request after that, and `together` of all requests
    weight_bytes        that a step reads; `memory` bytes a second is what reading alone reaches here
    reading, passes, choosing, other   seconds of a step: what reading the weights would take at the memory's speed,
                        what the pass takes more, what choosing the token takes, and the rest
    """

    parameters: int
    precision: Precision
    kernels: str
    prompt: int
    requests: int
    threads: int
    first_seconds: float
    tokens_per_second: float
    together: float
    slowest: float
    weight_bytes: int
    memory: float
    bandwidth: float
    reading: float
    passes: float
    choosing: float
    other: float


def bench_generate(
    config: GPTConfig, *, precision: Precision, prompt: int, new: int, requests: int, rounds: int, display: Display
) -> WritingSpeed:
    """Time `requests` at once and one alone, each of `prompt` random tokens and `new` written ones, `rounds` times.

    The weights are random. Raises ValueError where prompt and new tokens are more than the model's context.
    """
    if prompt < 1 or new < 2 or requests < 1 or rounds < 1:
        raise ValueError("--prompt, --requests and --rounds must be 1 or more, and --new 2 or more.")
    model = GPT.build(config, 0).eval()
    reason = why_not_packed(config)
    if reason is not None and precision in ("int8", "int4"):
        raise ValueError(f"{precision} is not to be had here: {reason}.")
    pages = [requests * group.pages_for(prompt + new, PASS_TOKENS) for group in groups_of(config)]
    passes = _passes(model, precision, pages, packed=reason is None)
    weights = _weight_bytes(passes, model)
    alone: list[_Timing] = []
    together: list[_Timing] = []
    rates = []
    with display.bar("timing", rounds, f"{rounds} rounds") as bar:
        for round in range(-1, rounds):
            rates.append(read_rate())
            one = _time(passes, config, prompt=prompt, new=new, requests=1, seed=round)
            many = (
                one if requests == 1 else _time(passes, config, prompt=prompt, new=new, requests=requests, seed=round)
            )
            if round >= 0:
                alone.append(one)
                together.append(many)
                bar.advance(1)
    step = statistics.median(timing.step for timing in alone)
    inside = statistics.median(timing.passes for timing in alone)
    choosing = statistics.median(timing.choosing for timing in alone)
    memory = statistics.median(rates)
    reading = min(inside, weights / memory)
    return WritingSpeed(
        parameters=config.parameters,
        precision=precision,
        kernels="one C++ call a pass" if reason is None else f"PyTorch: {reason}",
        prompt=prompt,
        requests=requests,
        threads=torch.get_num_threads(),
        first_seconds=statistics.median(timing.first for timing in alone),
        tokens_per_second=1 / step,
        together=statistics.median(timing.together for timing in together),
        slowest=statistics.median(timing.slowest for timing in together),
        weight_bytes=weights,
        memory=memory,
        bandwidth=weights / step,
        reading=reading,
        passes=inside - reading,
        choosing=choosing,
        other=step - inside - choosing,
    )


def read_rate() -> float:
    """Bytes a second at which this machine's threads read memory that is in no cache."""
    values = torch.ones(READ_BYTES // 4)
    start = time.perf_counter()
    float(values.sum())
    return READ_BYTES / (time.perf_counter() - start)


def show_writing(speed: WritingSpeed, display: Display) -> None:
    """The figures, and a step as bars."""
    display.say(
        f"{speed.parameters:,} parameters in {speed.precision}, {speed.threads} threads, {speed.kernels}\n"
        f"one request: {speed.tokens_per_second:,.1f} tokens/s; the first token after {speed.first_seconds:.3f} s "
        f"(a prompt of {speed.prompt:,})"
    )
    if speed.requests > 1:
        display.say(
            f"{speed.requests} requests at once: {speed.together:,.1f} tokens/s together, "
            f"the slowest of them {speed.slowest:,.1f}"
        )
    display.say(
        f"weights of {speed.weight_bytes / 1e6:,.0f} MB are read at {speed.bandwidth / 1e9:.1f} GB/s, "
        f"{speed.bandwidth / speed.memory:.0%} of the {speed.memory / 1e9:.1f} GB/s that reading alone reaches"
    )
    parts = {
        "reading the weights": speed.reading,
        "rest of the pass": speed.passes,
        "choosing the token": speed.choosing,
        "other": speed.other,
    }
    step = sum(parts.values())
    table = Table(box=None, pad_edge=False, show_header=False)
    done = 0.0
    for name, seconds in parts.items():
        table.add_row(
            name, f"{1e3 * seconds:.2f} ms", f"{seconds / step:.0%}", Bar(step, done, done + seconds, width=40)
        )
        done += seconds
    display.show(table)


def writing_as_json(speed: WritingSpeed) -> str:
    """The figures for a program."""
    return json.dumps(asdict(speed), indent=1)


@dataclass(frozen=True)
class _Timing:
    first: float
    step: float
    passes: float
    choosing: float
    together: float
    slowest: float


def _weight_bytes(passes: Passes, model: GPT) -> int:
    """Weights that a pass for the likeliest tokens reads."""
    if isinstance(passes, PackedPasses):
        return passes.model.bytes_read(greatest=True)
    return sum(parameter.nbytes for parameter in model.parameters())


def _passes(model: GPT, precision: Precision, pages: Sequence[int], *, packed: bool) -> Passes:
    if packed:
        return PackedPasses(PackedModel.of(model, precision), pages)
    return PlainPasses(model.bfloat16() if precision == "bf16" else model, pages)


def _time(passes: Passes, config: GPTConfig, *, prompt: int, new: int, requests: int, seed: int) -> _Timing:
    """One round: all requests are there from the beginning, each with a prompt of its own."""
    generator = torch.Generator().manual_seed(1000 + seed)
    prompts = torch.randint(0, config.vocab, (requests, prompt), generator=generator).tolist()
    engine = Engine(passes, most=requests, pass_tokens=PASS_TOKENS)
    begun = time.perf_counter()
    first: dict[int, float] = {}
    last: dict[int, float] = {}
    for tokens in prompts:
        engine.submit(Request(tuple(tokens), most=new, scored=False))
    steps: list[tuple[float, float, float, int]] = []
    while engine.going or engine.waiting:
        before, passed, chosen = time.perf_counter(), engine.pass_seconds, engine.choosing_seconds
        events = engine.step()
        now = time.perf_counter()
        written = sum(len(event.new) for event in events)
        steps.append((now - before, engine.pass_seconds - passed, engine.choosing_seconds - chosen, written))
        for event in events:
            if event.new:
                first.setdefault(event.request, now - begun)
                last[event.request] = now
    writing = [step for step in steps if step[3] == requests][1:] or steps[-1:]
    speeds = [(new - 1) / (last[number] - begun - first[number]) for number in first]
    return _Timing(
        first=min(first.values()),
        step=statistics.median(step[0] for step in writing),
        passes=statistics.median(step[1] for step in writing),
        choosing=statistics.median(step[2] for step in writing),
        together=requests / statistics.median(step[0] for step in writing),
        slowest=min(speeds),
    )
