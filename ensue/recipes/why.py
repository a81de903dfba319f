"""What `ensue why` does: the documents that a step of a run was trained on."""

from __future__ import annotations

import json

from ensue.core.run import RunFolder, read_rows
from ensue.recipes.seen import stream_at


def show_documents(run: RunFolder, step: int, *, as_json: bool) -> str:
    """The documents of step `step` (counted from 1): id, source, and how many tokens of each it read, most first.

    Raises ValueError for a step that the run has not come to, or whose data is no longer what was read.
    """
    config, data, stream = stream_at(run, step)
    rows = read_rows(run.receipts_path)
    # A run by the minute may go on past the steps that were planned.
    steps = max(config.schedule.steps, *(row["step"] for row in rows if "samples" in row), 0)
    if not 1 <= step <= steps:
        raise ValueError(f"{run.path} has {steps:,} steps; give --step from 1 to that.")
    told = next((row for row in rows if row["step"] == step and "samples" in row), None)
    now = {"samples": stream.samples_digest(step - 1), "tokens": stream.tokens_digest(step - 1)}
    if told is not None and any(told[name] != digest for name, digest in now.items()):
        raise ValueError(
            f"{data.path} no longer holds what step {step:,} read; see what changed with: "
            f"ensue verify {run.path} --steps {step - 1}:{step}"
        )
    found = sorted(stream.tokens_of_documents(step - 1), key=lambda pair: -pair[1])
    if as_json:
        documents = [
            {
                "id": span.id,
                "source": span.source,
                **({"part": span.part} if span.part else {}),
                "tokens": tokens,
                "start": span.start,
                "stop": span.stop,
            }
            for span, tokens in found
        ]
        return json.dumps({"step": step, "trained": told is not None, "documents": documents}, ensure_ascii=False)
    width = max(len(f"{tokens:,}") for _, tokens in found)
    parts = max(len(span.part) + 2 if span.part else 0 for span, _ in found)
    lines = [f"{tokens:>{width},} tokens  {span.part:<{parts}}{span.id}  {span.source}" for span, tokens in found]
    total = sum(tokens for _, tokens in found)
    done = "read" if told is not None else "will read"
    return "\n".join([*lines, f"step {step:,} {done} {total:,} tokens of {len(found):,} documents"])
