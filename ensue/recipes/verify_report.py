"""A verdict in words for people, and in JSON for programs."""

from __future__ import annotations

import json
from dataclasses import asdict

from ensue.recipes.verify import Verdict


def describe(verdict: Verdict, *, as_json: bool) -> str:
    """What was replayed, and whether all of it is as it was."""
    if as_json:
        return json.dumps({"identical": verdict.difference is None, **asdict(verdict)}, ensure_ascii=False)
    window = f"steps {verdict.start + 1:,} to {verdict.stop:,}"
    found = verdict.difference
    if found is None:
        tensors = f", and {verdict.tensors:,} whole tensors" if verdict.tensors else ""
        lines = [
            f"bit-identical: {window}",
            f"compared: samples, tokens, loss, gradient norm and weights after each of {verdict.replayed:,} steps"
            f"{tensors} where checkpoints were saved",
        ]
        return "\n".join([*lines, *verdict.notes])
    where = f", tensor {found.tensor}" if found.tensor is not None else ""
    same = f"the {verdict.replayed:,} before it are bit-identical" if verdict.replayed else "none came before it"
    return "\n".join(
        [f"differs: step {found.step:,}, {found.what}{where}", found.explanation, f"({window}; {same})", *verdict.notes]
    )
