"""Writing with a GPT-2 of 124M on a CPU, side by side with transformers, ctranslate2 and llama.cpp in one run.

    python -m benchmarks.generate MODEL --peer PYTHON --llama "llama.cpp bf16=gpt2-bf16.gguf" \\
        "llama.cpp q8_0=gpt2-q8_0.gguf" --ctranslate2 gpt2-ct2

MODEL is a Hugging Face folder, the others the same model converted; PYTHON has llama-cpp-python and ctranslate2.
Weights may be random: the speed depends on the shape. Contenders take turns in an order that rotates; figures are
medians.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch

from benchmarks.measure import machine, write_results
from ensue.generate.engine.engine import Engine
from ensue.generate.engine.pages import PAGE
from ensue.generate.engine.passes import PackedPasses
from ensue.generate.engine.requests import Request
from ensue.generate.load import load
from ensue.generate.packed import PackedModel
from ensue.generate.packing import Precision
from ensue.recipes.bench_generate import read_rate

PROMPT, NEW, LONG, MANY = 64, 64, 512, 16

Timed = Callable[[Sequence[Sequence[int]], int], dict[str, float]]
"""From prompts and a number of new tokens to seconds: until the first token of all, in all, and of the slowest."""


def ours(packed: PackedModel) -> Timed:
    passes = PackedPasses(packed, [MANY * -(-(LONG + NEW) // PAGE) for _ in packed.groups])

    def write(prompts: Sequence[Sequence[int]], new: int) -> dict[str, float]:
        engine = Engine(passes, most=MANY, pass_tokens=512)
        start = time.perf_counter()
        left = {engine.submit(Request(tuple(prompt), most=new, scored=False)) for prompt in prompts}
        begun: set[int] = set()
        first = total = 0.0
        while left:
            events = engine.step()
            now = time.perf_counter() - start
            begun.update(event.request for event in events if event.new)
            first = first or (now if len(begun) == len(prompts) else 0.0)
            ended = {event.request for event in events if event.finished}
            left -= ended
            total = now
        return {"first": first, "total": total}

    return write


def of_transformers(path: Path) -> Timed:
    from transformers import GPT2LMHeadModel

    model = GPT2LMHeadModel.from_pretrained(path, dtype=torch.float32).eval()

    def write(prompts: Sequence[Sequence[int]], new: int) -> dict[str, float]:
        tokens = torch.tensor([list(prompt) for prompt in prompts])
        seconds = {}
        for name, count in (("first", 1), ("total", new)):
            start = time.perf_counter()
            with torch.no_grad():
                model.generate(
                    tokens,
                    attention_mask=torch.ones_like(tokens),
                    do_sample=False,
                    min_new_tokens=count,
                    max_new_tokens=count,
                    pad_token_id=0,
                )
            seconds[name] = time.perf_counter() - start
        return seconds

    return write


class Peers:
    """The process that has the others."""

    def __init__(self, arguments: argparse.Namespace) -> None:
        script = Path(__file__).with_name("generate_peer.py")
        threads = ["--threads", str(torch.get_num_threads())]
        other = ["--ctranslate2", arguments.ctranslate2] if arguments.ctranslate2 else []
        command = [arguments.peer, str(script), *threads, "--llama", *arguments.llama, *other]
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )
        self.names: list[str] = self._answer()

    def timed(self, name: str) -> Timed:
        def write(prompts: Sequence[Sequence[int]], new: int) -> dict[str, float]:
            assert self.process.stdin is not None
            order = {"peer": name, "prompts": [list(prompt) for prompt in prompts], "new": new}
            print(json.dumps(order), file=self.process.stdin, flush=True)
            answer: dict[str, float] = self._answer()
            return answer

        return write

    def _answer(self) -> Any:
        assert self.process.stdout is not None
        return json.loads(self.process.stdout.readline())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("--peer")
    parser.add_argument("--llama", nargs="*", default=[])
    parser.add_argument("--ctranslate2", default=None)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--name", default="generate")
    arguments = parser.parse_args()
    lm = load(arguments.model, device="cpu")
    precisions: tuple[Precision, ...] = ("fp32", "bf16", "int8", "int4")
    contenders = {f"ensue {precision}": ours(PackedModel.of(lm.model, precision)) for precision in precisions}
    contenders["transformers fp32"] = of_transformers(arguments.model)
    if arguments.peer:
        peers = Peers(arguments)
        contenders |= {name: peers.timed(name) for name in peers.names}
    results = measure(contenders, lm.config.vocab, arguments.rounds)
    told = {"machine": machine("torch", "transformers"), "rounds": arguments.rounds, **results}
    write_results(arguments.name, told)
    print(json.dumps(results, indent=1))


def measure(contenders: dict[str, Timed], vocab: int, rounds: int) -> dict[str, Any]:
    """Each contender's medians: one request of 64 tokens, 16 of them at once, the first token after 512."""
    readings: dict[str, dict[str, list[float]]] = {name: {"one": [], "many": [], "first": []} for name in contenders}
    names, memory = list(contenders), []
    for turn in range(-1, rounds):
        generator = torch.Generator().manual_seed(turn + 1)
        prompts = torch.randint(0, vocab, (MANY, PROMPT), generator=generator).tolist()
        (long,) = torch.randint(0, vocab, (1, LONG), generator=generator).tolist()
        memory.append(read_rate())
        for place in range(len(names)):
            name = names[(turn + place) % len(names)]
            one = contenders[name](prompts[:1], NEW)
            found = {"one": (NEW - 1) / (one["total"] - one["first"]), "first": contenders[name]([long], 1)["total"]}
            if not name.startswith("llama.cpp"):
                found["many"] = MANY * NEW / contenders[name](prompts, NEW)["total"]
            if turn >= 0:
                for kind, value in found.items():
                    readings[name][kind].append(value)
    return {
        "memory_gb_per_second": statistics.median(memory) / 1e9,
        "tokens_per_second_of_one": {name: _median(found["one"]) for name, found in readings.items()},
        f"tokens_per_second_of_{MANY}": {
            name: _median(found["many"]) for name, found in readings.items() if found["many"]
        },
        f"seconds_to_first_token_of_{LONG}": {name: _median(found["first"]) for name, found in readings.items()},
    }


def _median(values: Sequence[float]) -> float:
    return float(f"{statistics.median(values):.4g}")


if __name__ == "__main__":
    main()
