"""What bf16, int8 and int4 weights cost a trained model, in bits per byte of text it has not seen.

    python -m benchmarks.generate_quality RUN [TEXT] [--bytes 400000]

TEXT is a file; the run's own held-out text unless said. Each passage is read by the engine in windows of the context.
"""

from __future__ import annotations

import argparse
import math
from pathlib import Path
from typing import Any

from benchmarks.measure import machine, write_results
from ensue.core.run import RunFolder
from ensue.generate.engine.opening import EngineSettings, open_engine
from ensue.generate.engine.requests import Request
from ensue.generate.lm import LM
from ensue.generate.load import load
from ensue.generate.packing import Precision
from ensue.recipes.data import Data
from ensue.recipes.resuming import config_at


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("text", type=Path, nargs="?")
    parser.add_argument("--bytes", type=int, default=400_000)
    arguments = parser.parse_args()
    lm = load(arguments.run, device="cpu")
    text = (
        held_out_text(arguments.run, arguments.bytes) if arguments.text is None else arguments.text.read_text("utf-8")
    )
    text = text[: arguments.bytes]
    precisions: tuple[Precision, ...] = ("fp32", "bf16", "int8", "int4")
    found: dict[str, Any] = {precision: bits_per_byte(lm, text, precision) for precision in precisions}
    found |= {"bytes": len(text.encode()), "parameters": lm.config.parameters}
    print(write_results("generate_quality", {"machine": machine("torch"), **found}), found)


def bits_per_byte(lm: LM, text: str, precision: Precision) -> float:
    """Of the text as the engine reads it with weights of this precision."""
    engine = open_engine(lm, EngineSettings(precision=precision, cache_bytes=1 << 28, pass_tokens=512))
    tokens = [lm.tokenizer.end, *lm.tokenizer.encode(text)]
    step = lm.config.context - 1
    windows = [tokens[first : first + step + 1] for first in range(0, len(tokens) - 1, step)]
    for window in windows:
        engine.submit(Request(tuple(window), most=0, of_prompt=True))
    nats = 0.0
    while engine.going or engine.waiting:
        nats -= sum(told.nats for event in engine.step() for told in event.prompt if told.nats is not None)
    return nats / math.log(2) / len(text.encode())


def held_out_text(path: Path, size: int) -> str:
    """The first documents that the run held out."""
    run = RunFolder.open(path)
    last = max(row["step"] for row in run.rows() if "loss" in row)
    data = Data(run.path.resolve() / config_at(run, last).data)
    texts, held = [], 0
    for span in data.held_out.spans(range(data.held_out.count)):
        texts.append(data.tokenizer.decode(data.held_out.tokens[span.start : span.stop - 1].tolist()))
        held += len(texts[-1].encode())
        if held >= size:
            break
    return "\n\n".join(texts)


if __name__ == "__main__":
    main()
