"""The server under load: latencies and throughput by how many ask at once, four times too much, and its memory: as
requests come and go, and by the precision of the weights.

    python -m benchmarks.serving [MODEL] [--dtype bf16] [--quick]

MODEL is a folder; without one, a GPT-2 of 124M with random weights is made, since speed depends on the shape alone. The
server is a process of its own, and shares the cores with the clients, which are one process. Each asks for a text after
a prompt of 64 tokens that nobody asked for before, streamed, and then for the next.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp

from benchmarks.measure import machine, print_table, write_results

PROMPT, NEW = 64, 32
CLIENTS = (1, 4, 16, 64)
TOO_MUCH = 4


@dataclass
class Tally:
    """What came of many requests: seconds to the first token and to the last, tokens written, and statuses."""

    first: list[float] = field(default_factory=list)
    whole: list[float] = field(default_factory=list)
    statuses: dict[str, int] = field(default_factory=dict)
    tokens: int = 0

    def told(self, seconds: float) -> dict[str, Any]:
        return {
            "answered": len(self.whole),
            "statuses": self.statuses,
            "requests_per_s": round(len(self.whole) / seconds, 2),
            "tokens_per_s": round(self.tokens / seconds, 1),
            "first_token_s": _percentiles(self.first),
            "whole_s": _percentiles(self.whole),
        }


def _percentiles(values: list[float]) -> dict[str, float]:
    ordered = sorted(values)
    places = {f"p{share}": min(len(ordered) - 1, int(len(ordered) * share / 100)) for share in (50, 95, 99)}
    return {name: float(f"{ordered[place]:.3g}") for name, place in places.items()} if ordered else {}


@contextmanager
def server(folder: Path, *options: str) -> Iterator[tuple[str, int]]:
    """A server on a free port: its address, and its process."""
    command = [sys.executable, "-m", "ensue.cli", "serve", str(folder), "--port", "0", "--name", "model", *options]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        found = None
        while found is None:
            line = process.stderr.readline()
            if not line:
                raise SystemExit("the server did not start")
            found = re.search(r"http://\S+?(?=/v1)", line)
        try:
            yield found[0], process.pid
        finally:
            process.terminate()
            process.wait(60)


def body(rng: random.Random, vocabulary: int, new: int, *, stream: bool = True) -> dict[str, Any]:
    prompt = [rng.randrange(vocabulary) for _ in range(PROMPT)]
    return {"prompt": prompt, "max_tokens": new, "temperature": 0, "ignore_end": True, "stream": stream}


async def ask(session: aiohttp.ClientSession, asked: dict[str, Any], tally: Tally) -> None:
    start = time.perf_counter()
    try:
        async with session.post("/v1/completions", json=asked) as answer:
            status = str(answer.status)
            if answer.status == 200:
                first, last = 0.0, b""
                async for line in answer.content:
                    first = first or time.perf_counter() - start
                    last = line.strip() or last
                if asked["stream"] and last != b"data: [DONE]":
                    status = "broken off"
                else:
                    tally.first.append(first)
                    tally.whole.append(time.perf_counter() - start)
                    tally.tokens += asked["max_tokens"]
            else:
                assert (await answer.json())["error"]["message"]
    except (aiohttp.ClientError, TimeoutError) as error:
        status = f"lost: {type(error).__name__}"
    tally.statuses[status] = tally.statuses.get(status, 0) + 1


def session_of(address: str) -> aiohttp.ClientSession:
    return aiohttp.ClientSession(
        address, connector=aiohttp.TCPConnector(limit=0), timeout=aiohttp.ClientTimeout(total=600)
    )


async def steady(address: str, clients: int, each: int, vocabulary: int) -> dict[str, Any]:
    """So many clients, each with one request after the other."""
    tally, rng = Tally(), random.Random(clients)
    async with session_of(address) as session:
        await ask(session, body(rng, vocabulary, NEW), Tally())

        async def one() -> None:
            for _ in range(each):
                await ask(session, body(rng, vocabulary, NEW), tally)

        start = time.perf_counter()
        await asyncio.gather(*(one() for _ in range(clients)))
    return {"clients": clients, **tally.told(time.perf_counter() - start)}


async def overload(address: str, rate: float, seconds: float, vocabulary: int) -> dict[str, Any]:
    """Requests at so many a second from 64 clients, whether or not those before were answered."""
    tally, rng = Tally(), random.Random(0)
    count = max(64, int(rate * seconds))
    async with session_of(address) as session:
        start = time.perf_counter()
        tasks = []
        for number in range(count):
            await asyncio.sleep(max(0.0, start + number / rate - time.perf_counter()))
            tasks.append(asyncio.create_task(ask(session, body(rng, vocabulary, NEW), tally)))
        await asyncio.gather(*tasks)
    return {"asked": count, "asked_per_s": round(rate, 2), **tally.told(time.perf_counter() - start)}


async def memory(address: str, process: int, count: int, vocabulary: int) -> dict[str, Any]:
    """Resident memory of the server as requests of every kind come and go, a tenth of them for it to warm up."""
    rng, tally = random.Random(1), Tally()
    samples: list[float] = []
    async with session_of(address) as session:

        async def many(requests: int) -> None:
            async def one() -> None:
                for _ in range(requests // 16):
                    asked = body(rng, vocabulary, rng.choice([1, 4, 8]), stream=rng.random() < 0.5)
                    asked |= rng.choice([{}, {"logprobs": 2}, {"n": 2, "temperature": 1}, {"stop": ["a"]}])
                    await ask(session, asked, tally)

            await asyncio.gather(*(one() for _ in range(16)))

        for _ in range(11):
            await many(count // 10)
            samples.append(_resident(process))
    return {"requests": count, "statuses": tally.statuses, "resident_mb": samples[1:], "warm_mb": samples[0]}


def resident_by_precision(folder: Path, vocabulary: int) -> dict[str, float]:
    """Resident memory of a server that has written one text, in MB, for each precision of the weights."""
    found = {}
    for dtype in ("fp32", "bf16", "int8", "int4"):
        with server(folder, "--dtype", dtype, "--cache", "256M") as (address, process):
            asyncio.run(steady(address, 1, 1, vocabulary))
            found[dtype] = _resident(process)
    return found


def _resident(process: int) -> float:
    text = Path(f"/proc/{process}/status").read_text()
    return round(int(re.search(r"VmRSS:\s+(\d+)", text)[1]) / 1024, 1)  # type: ignore[index]


def make_model(folder: Path, *, small: bool) -> Path:
    """A GPT-2 with random weights: the 124M shape, or a small one."""
    from ensue.model.gpt import GPT
    from ensue.model.presets import gpt2
    from ensue.model.weights import save_model
    from ensue.tokens.byte_level import train_byte_level

    tokenizer = train_byte_level(iter(["the quick brown fox jumps over the lazy dog " * 9]), vocab_size=270)
    shape = {"layers": 2, "width": 128, "heads": 2, "context": 256, "vocab": 512}
    if not small:
        shape = {"layers": 12, "width": 768, "heads": 12, "context": 1024, "vocab": 50304}
    save_model(GPT.build(gpt2(**shape), 0), folder)
    tokenizer.save(folder)
    return folder


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path, nargs="?")
    parser.add_argument("--dtype", default="bf16")
    parser.add_argument("--quick", action="store_true", help="a small model and few requests; results are not kept")
    parser.add_argument("--parts", default="steady,overload,memory,precisions")
    parser.add_argument("--name", default="serving", help="of the file with the results")
    parser.add_argument("--requests", type=int, default=10_000, help="of the part about memory")
    arguments = parser.parse_args()
    told: dict[str, Any] = {"machine": machine("torch", "fastapi", "uvicorn"), "dtype": arguments.dtype}
    told["load_before"] = round(os.getloadavg()[0], 2)
    parts = arguments.parts.split(",")
    with tempfile.TemporaryDirectory() as place:
        folder = arguments.model or make_model(Path(place) / "model", small=arguments.quick)
        small = make_model(Path(place) / "small", small=True)
        options = ["--dtype", arguments.dtype, "--at-once", "64", "--queue", "128"]
        vocabulary = 270
        if "steady" in parts:
            with server(folder, *options) as (address, _):
                told["steady"] = [
                    asyncio.run(steady(address, clients, 2 if arguments.quick else max(3, 24 // clients), vocabulary))
                    for clients in CLIENTS
                ]
            rows = [
                [each["clients"], each["tokens_per_s"], each["first_token_s"], each["whole_s"]]
                for each in told["steady"]
            ]
            print_table([["clients", "tokens/s", "first token, s", "whole, s"], *rows])
        if "overload" in parts:
            rate = TOO_MUCH * told["steady"][-1]["requests_per_s"]
            with server(folder, *options) as (address, _):
                told["overload"] = asyncio.run(overload(address, rate, 3 if arguments.quick else 20, vocabulary))
            print(json.dumps(told["overload"]))
        if "memory" in parts:
            count = 480 if arguments.quick else arguments.requests
            with server(small, "--cache", "16M") as (address, process):
                told["memory"] = asyncio.run(memory(address, process, count, vocabulary))
            print(json.dumps(told["memory"]))
        if "precisions" in parts:
            told["resident_mb_by_precision"] = resident_by_precision(folder, vocabulary)
            print(json.dumps(told["resident_mb_by_precision"]))
    if not arguments.quick:
        write_results(arguments.name, told)


if __name__ == "__main__":
    main()
