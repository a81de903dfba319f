"""Writing on a GPU in bf16, with random weights in the shapes of GPT-2: python -m benchmarks.generate_gpu

Contenders: our engine replaying CUDA graphs, the same with kernels merged by torch.compile, our engine without either,
transformers' `generate`, and a loop in gpt-fast's manner: a static cache, one compiled step, nothing else. They take
turns in an order that rotates; figures are medians. The loop and `generate` leave a round's tokens on the GPU until its
end, while the engine tells each token when it is there.
"""

from __future__ import annotations

import argparse
import gc
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from benchmarks.generate import MANY, PROMPT
from benchmarks.measure import machine, median, print_table, write_results
from ensue.generate.engine.engine import Engine
from ensue.generate.engine.groups import groups_of
from ensue.generate.engine.passes import Passes, PlainPasses, Tokens
from ensue.generate.engine.requests import Request
from ensue.generate.engine.static_passes import StaticPasses, merged
from ensue.model.config import GPTConfig
from ensue.model.gpt import GPT
from ensue.model.presets import gpt2, preset
from ensue.model.weights.huggingface import stored_tensors

NEW = 128
PASS_TOKENS = 512
READ_BYTES = 1 << 31

SHAPES = {
    "124m": preset("gpt2"),
    "1.5b": preset("gpt2-xl"),
    "tiny": gpt2(layers=2, width=64, heads=2, context=256, vocab=512),
}


@dataclass(frozen=True)
class Written:
    """The tokens of each prompt, seconds until all had their first one and in all, and tokens written in between."""

    tokens: list[list[int]]
    first: float
    total: float
    later: int


Writer = Callable[[Sequence[Sequence[int]], int], Written]
"""From prompts of one length, and a number of new tokens."""


def by_engine(passes: Passes) -> Writer:
    def write(prompts: Sequence[Sequence[int]], new: int) -> Written:
        engine = Engine(passes, most=MANY, pass_tokens=PASS_TOKENS)
        start = time.perf_counter()
        numbers = [engine.submit(Request(tuple(prompt), most=new, scored=False)) for prompt in prompts]
        tokens: dict[int, list[int]] = {number: [] for number in numbers}
        first, early = 0.0, 0
        while engine.going or engine.waiting:
            for event in engine.step():
                tokens[event.request].extend(told.token for told in event.new)
            if not first and all(tokens.values()):
                first, early = time.perf_counter() - start, sum(map(len, tokens.values()))
        total = time.perf_counter() - start
        return Written([tokens[number] for number in numbers], first, total, len(prompts) * new - early)

    return write


def by_transformers(model: Any) -> Writer:
    def write(prompts: Sequence[Sequence[int]], new: int) -> Written:
        ids = torch.tensor(prompts, device=model.device)
        seconds, written = [], ids
        for count in (1, new):
            start = time.perf_counter()
            with torch.no_grad():
                written = model.generate(
                    ids,
                    attention_mask=torch.ones_like(ids),
                    do_sample=False,
                    min_new_tokens=count,
                    max_new_tokens=count,
                    pad_token_id=0,
                    eos_token_id=None,
                )
            tokens = written[:, ids.shape[1] :].tolist()
            seconds.append(time.perf_counter() - start)
        return Written(tokens, seconds[0], seconds[1], len(prompts) * (new - 1))

    return write


def by_static_loop(model: Any) -> Writer:
    """gpt-fast's loop with transformers' model: it compiles a step for each number of prompts."""
    from transformers import StaticCache

    steps: dict[int, tuple[Any, Callable[[Tensor], Tensor]]] = {}

    def step_for(rows: int, length: int) -> tuple[Any, Callable[[Tensor], Tensor]]:
        cache = StaticCache(config=model.config, max_cache_len=length)

        def step(token: Tensor) -> Tensor:
            likeliest: Tensor = model(token, past_key_values=cache).logits[:, -1:].argmax(-1)
            return likeliest

        on_gpu = model.device.type == "cuda"
        return cache, torch.compile(step, mode="reduce-overhead", fullgraph=True) if on_gpu else step

    def write(prompts: Sequence[Sequence[int]], new: int) -> Written:
        if len(prompts) not in steps:
            steps[len(prompts)] = step_for(len(prompts), len(prompts[0]) + new)
        cache, step = steps[len(prompts)]
        cache.reset()
        ids = torch.tensor(prompts, device=model.device)
        start = time.perf_counter()
        with torch.no_grad():
            written = [model(ids, past_key_values=cache).logits[:, -1:].argmax(-1)]
            synchronise(model.device)
            first = time.perf_counter() - start
            for _ in range(new - 1):
                torch.compiler.cudagraph_mark_step_begin()
                written.append(step(written[-1]).clone())
        tokens = torch.cat(written, 1).tolist()
        return Written(tokens, first, time.perf_counter() - start, len(prompts) * (new - 1))

    return write


def transformers_twin(model: GPT) -> Any:
    """transformers' GPT-2 with the same weights, in memory of its own."""
    from transformers import GPT2Config, GPT2LMHeadModel

    config, weight = model.config, model.token_embedding.weight
    shape = {"n_positions": config.context, "n_embd": config.width, "n_layer": config.layers, "n_head": config.heads}
    theirs = GPT2Config(vocab_size=config.vocab, bos_token_id=None, eos_token_id=None, **shape)
    with torch.device(weight.device):
        twin = GPT2LMHeadModel(theirs).to(weight.dtype).eval()
    given = {name.removeprefix("transformer."): tensor for name, tensor in stored_tensors(model).items()}
    missing, unexpected = twin.transformer.load_state_dict(given, strict=False)
    assert not missing
    assert not unexpected
    return twin


def contenders_for(model: GPT) -> tuple[dict[str, Writer], dict[str, Passes]]:
    """All that write, and the passes of those that are our engine's."""
    pages = [MANY * group.pages_for(PROMPT + NEW, PASS_TOKENS) for group in groups_of(model.config)]
    on_gpu = model.token_embedding.weight.is_cuda
    passes: dict[str, Passes] = {
        "ensue": PlainPasses(model, pages),
        "ensue, graphs": StaticPasses(model, pages),
        "ensue, graphs, compiled": StaticPasses(model, pages, compiler=merged if on_gpu else None),
    }
    twin = transformers_twin(model)
    others = {"transformers generate": by_transformers(twin), "static cache, compiled": by_static_loop(twin)}
    return {name: by_engine(each) for name, each in passes.items()} | others, passes


def measure(contenders: dict[str, Writer], vocab: int, *, rounds: int, new: int) -> dict[str, dict[str, float]]:
    """Medians of each contender: tokens a second after the first, of one prompt and of 16, and seconds to the first."""
    names = list(contenders)
    readings: dict[str, dict[str, list[float]]] = {name: {} for name in names}
    for turn in range(-1, rounds):  # the first round records and compiles
        generator = torch.Generator().manual_seed(turn + 1)
        prompts = torch.randint(0, vocab, (MANY, PROMPT), generator=generator).tolist()
        for place in range(len(names)):
            name = names[(turn + place) % len(names)]
            for count in (1, MANY):
                written = contenders[name](prompts[:count], new)
                found = {
                    f"tokens_per_second_of_{count}": written.later / (written.total - written.first),
                    f"seconds_to_first_token_of_{count}": written.first,
                }
                for kind, value in found.items() if turn >= 0 else ():
                    readings[name].setdefault(kind, []).append(value)
    return {name: {kind: median(values) for kind, values in found.items()} for name, found in readings.items()}


def seconds_of_pass(passes: Passes, device: torch.device, *, repeats: int = 50) -> float:
    """Of one token after the prompt, from the host's call until the GPU is done: the median."""
    columns = -(-(PROMPT + repeats) // 16)
    tables = [torch.arange(columns, dtype=torch.int32)[None] % count for count in passes.pages]
    seconds = []
    for place in range(PROMPT, PROMPT + repeats):
        synchronise(device)
        start = time.perf_counter()
        passes.run(Tokens([1], [place], [0]), tables, [0])
        synchronise(device)
        seconds.append(time.perf_counter() - start)
    return median(seconds)


def memory_rates(device: torch.device, *, size: int = READ_BYTES, repeats: int = 20) -> dict[str, float]:
    """Bytes a second of the device's memory: where a sum reads it, and where a copy reads and writes it."""
    source = torch.ones(size // 4, device=device)
    target = torch.empty_like(source)
    works: dict[str, tuple[Callable[[], Any], int]] = {
        "read": (source.sum, source.nbytes),
        "copy": (lambda: target.copy_(source), 2 * source.nbytes),
    }
    rates = {}
    for name, (work, moved) in works.items():
        seconds = []
        for _ in range(repeats + 3):
            synchronise(device)
            start = time.perf_counter()
            work()
            synchronise(device)
            seconds.append(time.perf_counter() - start)
        rates[name] = median([moved / each for each in seconds[3:]])
    return rates


def bytes_of_step(model: GPT) -> int:
    """Weights that every step reads: all but the tables of which it looks up a row."""
    tables = [model.position_embedding] if model.head is None else [model.position_embedding, model.token_embedding]
    looked_up = sum(table.weight.nbytes for table in tables if table is not None)
    return sum(parameter.nbytes for parameter in model.parameters()) - looked_up


def results_of(config: GPTConfig, device: torch.device, *, rounds: int, new: int, read: float) -> dict[str, Any]:
    """Everything about one shape; `read` is the memory's bytes a second, of which each contender's share is told."""
    dtype = torch.bfloat16 if device.type == "cuda" else torch.float32
    model = GPT.build(config, 0).to(device, dtype).eval()
    contenders, passes = contenders_for(model)
    found = measure(contenders, config.vocab, rounds=rounds, new=new)
    weights = bytes_of_step(model)
    for name, readings in found.items():
        readings["share_of_read_rate_of_1"] = round(weights * readings["tokens_per_second_of_1"] / read, 3)
        if name in passes:
            readings["seconds_of_pass"] = seconds_of_pass(passes[name], device)
    return {"weight_bytes": weights, "contenders": found}


def synchronise(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shapes", nargs="+", choices=list(SHAPES), default=["124m", "1.5b"])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--new", type=int, default=NEW, help="tokens written after each prompt, at most %(default)s")
    parser.add_argument("--device", choices=["cuda", "cpu"], default="cuda", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if not 2 <= options.new <= NEW or options.rounds < 1:
        parser.error(f"--new goes from 2 to {NEW}, and --rounds from 1.")
    if options.device == "cuda" and not torch.cuda.is_available():
        print("There is no GPU here that torch sees, so nothing was measured.", file=sys.stderr)
        return 2
    device = torch.device(options.device)
    rates = memory_rates(device, size=READ_BYTES if device.type == "cuda" else 1 << 22)
    shapes: dict[str, Any] = {}
    for name in options.shapes:
        shapes[name] = results_of(SHAPES[name], device, rounds=options.rounds, new=options.new, read=rates["read"])
        gc.collect()  # models and passes of the shape before hold one another
        heading = ["", "tokens/s of 1", "share of memory", f"tokens/s of {MANY}", "s to first of 1"]
        kinds = [
            "tokens_per_second_of_1",
            "share_of_read_rate_of_1",
            f"tokens_per_second_of_{MANY}",
            "seconds_to_first_token_of_1",
        ]
        rows = [[each, *(told[kind] for kind in kinds)] for each, told in shapes[name]["contenders"].items()]
        print(f"\n{name}: {shapes[name]['weight_bytes'] / 1e6:,.0f} MB a step, memory {rates['read'] / 1e9:,.0f} GB/s")
        print_table([heading, *rows])
    if device.type == "cuda":
        told = {
            "machine": machine("torch", "transformers"),
            "gpu": torch.cuda.get_device_name(device),
            "rounds": options.rounds,
            "prompt": PROMPT,
            "new": options.new,
            "memory_bytes_per_second": rates,
            "shapes": shapes,
        }
        print(f"\nwritten to {write_results('generate_gpu', told)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
