"""Ensue's numbers beside lm-evaluation-harness's: the same files, items and model, compared item by item.

python -m benchmarks.harness_agreement DATA [MODEL], where DATA holds tasks/ and wikitext2/. Without MODEL, a small
GPT-2 with random weights. The harness asks it twice: through Ensue's adapter, and by its own `hf` model over the same
files of weights, which Ensue has no part in. All in float64, so that what is the same is the same to the last digit.
"""

from __future__ import annotations

import json
import logging
import math
import os
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from itertools import islice
from pathlib import Path
from typing import Any

os.environ |= {"HF_DATASETS_OFFLINE": "1", "HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}

import torch

from benchmarks.harness_tasks import CASES, Case, Number
from benchmarks.measure import machine, write_results
from ensue.evaluate.loading import Loaded, load_task
from ensue.evaluate.local import LocalScorer
from ensue.evaluate.measuring import measure
from ensue.evaluate.records import Record
from ensue.evaluate.results import result_of
from ensue.evaluate.rows import read_rows
from ensue.generate.load import load
from ensue.model.gpt import GPT
from ensue.model.presets import gpt2
from ensue.model.weights import save_model
from ensue.tokens.byte_level import train_byte_level

SEED = 5
LIMIT = 200
SLOW = {"wikitext2": 6, "stories": 60, "cycle_letters": 60}
"""Of tasks whose items are long."""


def build_model(folder: Path, texts: Sequence[str], *, context: int, vocab: int, width: int = 64) -> Path:
    """A small GPT-2 with random weights that is anything but indifferent, as a folder both can open."""
    tokenizer = train_byte_level(iter(texts), vocab_size=vocab)
    model = GPT.build(gpt2(layers=2, width=width, heads=4, context=context, vocab=tokenizer.vocab_size), SEED)
    generator = torch.Generator().manual_seed(SEED)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator) * 0.1)
    folder.mkdir(parents=True)
    save_model(model.eval(), folder, end_token=tokenizer.end)
    tokenizer.save(folder)
    return folder


def measured(case: Case, scorer: LocalScorer, data: Path, scratch: Path, limit: int) -> tuple[Loaded, list[Record]]:
    """Ensue's own records of a case, from its runner."""
    loaded = load_task(case.task, data, shots=case.shots, limit=limit, seed=SEED, same_shots=True)
    path = scratch / f"{case.task.name}.jsonl"
    return loaded, measure(loaded, scorer, path, shots=case.shots, seed=SEED)


def harness_config(case: Case, loaded: Loaded, records: Sequence[Record], scratch: Path) -> dict[str, Any]:
    """The harness's task over the rows that Ensue asked, and with the examples that Ensue drew."""
    rows = [loaded.rows[number] for number in loaded.numbers]
    path = scratch / f"{case.task.name}_rows.jsonl"
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    config = {
        "task": case.task.name,
        "dataset_path": "json",
        "dataset_kwargs": {"data_files": {"test": str(path)}, "cache_dir": str(scratch / "cache")},
        "test_split": "test",
        **case.config,
    }
    if case.shots:
        assert loaded.pool is not None
        drawn = dict(zip(loaded.pool.numbers, loaded.pool.rows, strict=True))
        shown = [drawn[number] for number in records[0]["examples"]]
        config |= {"num_fewshot": case.shots, "fewshot_config": {"sampler": "first_n", "samples": shown}}
    return config


def asked_by_harness(model: Any, configs: Sequence[dict[str, Any]]) -> Any:
    """The harness's results and samples."""
    import lm_eval
    from lm_eval.tasks import TaskManager

    logging.getLogger("lm_eval").setLevel(logging.ERROR)
    return lm_eval.simple_evaluate(
        model=model,
        tasks=list(configs),
        task_manager=TaskManager(include_defaults=False),
        bootstrap_iters=0,
    )


def sent_by_ensue(record: Record, answer_context: str | None) -> list[tuple[str, ...]]:
    """The texts of an item as the harness has them: context and continuation, a whole text, a prompt."""
    if "options" in record:
        pairs = [(record["before"] + option["context"], option["continuation"]) for option in record["options"]]
        return pairs + [
            (answer_context or "", option["continuation"]) for option in record["options"] if "alone" in option
        ]
    return [(record["text"],)] if "text" in record else [(record["before"] + record["prompt"],)]


def answered_to_ensue(record: Record) -> list[Any]:
    """The ln p of each text that was sent, or what was written."""
    if "options" in record:
        alone = [option["alone"] for option in record["options"] if "alone" in option]
        return [sum(scored["nats"]) for scored in [*record["options"], *alone]]
    return [sum(record["nats"])] if "text" in record else [record["written"]]


def sent_by_harness(sample: Mapping[str, Any]) -> list[tuple[str, ...]]:
    """Without the settings of generation, which are not text."""
    return [tuple(part for part in arguments if isinstance(part, str)) for arguments in sample["arguments"]]


def answered_to_harness(sample: Mapping[str, Any]) -> list[Any]:
    """The ln p of each text that was sent, or what was written."""
    answers = [response for [response] in sample["resps"]]
    return [answer[0] if isinstance(answer, tuple | list) else answer for answer in answers]


def compared(case: Case, records: Sequence[Record], mine: Mapping[str, Any], told: Any) -> dict[str, Any]:
    """One case: texts, log-probabilities and numbers of both, item by item."""
    name = case.task.name
    samples = {sample["doc_id"]: sample for sample in told["samples"][name]}
    pairs = [(record, samples[place]) for place, record in enumerate(records)]
    differences, same_text = [], 0
    for record, sample in pairs:
        ours, theirs = sent_by_ensue(record, case.task.answer_context), sent_by_harness(sample)
        answers = zip(answered_to_ensue(record), answered_to_harness(sample), strict=True)
        same = [one == other for one, other in zip(ours, theirs, strict=True)]
        differences += [_difference(*each) for each, alike in zip(answers, same, strict=True) if alike]
        same_text += all(same[: len(record.get("options", same))])
    return {
        "task": name,
        "shots": case.shots,
        "items": len(pairs),
        "same_text": same_text,
        "text_reason": case.text_reason,
        "largest_difference": max(differences, default=None),
        "numbers": [_number(number, pairs, mine, told["results"][name]) for number in case.numbers],
    }


def _difference(ours: Any, theirs: Any) -> float:
    """In nats; of written texts, 0 or infinite."""
    return abs(ours - theirs) if isinstance(ours, float) else float("inf" if ours != theirs else 0)


def _number(
    number: Number, pairs: Sequence[tuple[Record, Any]], mine: Mapping[str, Any], theirs: Mapping[str, Any]
) -> dict[str, Any]:
    ours, other = mine["metrics"][number.ensue]["value"], float(theirs[f"{number.harness},none"])
    alike = [_alike(record["values"][number.ensue], sample[number.harness]) for record, sample in pairs]
    return {**asdict(number), "values": [other, ours], "items_alike": sum(alike)}


def _alike(ours: Any, theirs: Any) -> bool:
    """Whether an item's value is the same: ln p to a millionth, all else exactly."""
    (one, *counts), (other, *others) = map(_parts, (ours, theirs))
    return bool(abs(one - other) <= 1e-6) and (counts == others or not others)


def _parts(value: Any) -> list[Any]:
    return list(value) if isinstance(value, tuple | list) else [value]


def agreement(
    data: Path, model: Path, scratch: Path, *, cases: Sequence[Case] = CASES, limit: int = LIMIT, other: bool = True
) -> list[dict[str, Any]]:
    """All cases; where `other`, each with `hf`, the harness's own model beside the adapter."""
    from lm_eval.models.huggingface import HFLM

    from ensue.evaluate.harness import EnsueModel

    scorer, adapter = LocalScorer(load(model, device="cpu")), EnsueModel(str(model), device="cpu")
    scorer.lm.model.double()
    adapter.lm.model.double()
    configs, records, mine = [], {}, {}
    for case in cases:
        name = case.task.name
        loaded, records[name] = measured(case, scorer, data, scratch, min(limit, SLOW.get(name, limit)))
        mine[name] = result_of(case.task, case.shots, records[name], seed=SEED)
        configs.append(harness_config(case, loaded, records[name], scratch))
    told = asked_by_harness(adapter, configs)
    results = [compared(case, records[case.task.name], mine[case.task.name], told) for case in cases]
    if other:
        judge = asked_by_harness(HFLM(pretrained=str(model), device="cpu", dtype="float64", batch_size=16), configs)
        for result in results:
            result["hf"] = _beside(told, judge, result["task"])
    return results


def _beside(told: Any, judge: Any, name: str) -> dict[str, Any]:
    """The adapter beside the harness's own model: the largest difference of an answer, and of a number."""
    others = {sample["doc_id"]: sample for sample in judge["samples"][name]}
    differences = [
        _difference(ours, theirs)
        for sample in told["samples"][name]
        for ours, theirs in zip(answered_to_harness(sample), answered_to_harness(others[sample["doc_id"]]), strict=True)
    ]
    one, other = told["results"][name], judge["results"][name]
    metrics = [metric for metric in one if metric.endswith(",none") and "stderr" not in metric]
    gaps = [abs(one[metric] - other[metric]) / max(abs(other[metric]), 1) for metric in metrics]
    return {"largest_difference": max(differences), "largest_gap_of_a_number": float(max(gaps))}


def as_markdown(results: Sequence[Mapping[str, Any]]) -> str:
    """A table with a row for each number."""
    lines = [
        "| task | items, same text | harness | Ensue | values | items alike | why they differ |",
        "|---|---:|---|---|---|---:|---|",
    ]
    for result in results:
        for number in result["numbers"]:
            theirs, ours = number["values"]
            reasons = "; ".join(filter(None, (result["text_reason"], number["reason"])))
            value = f"{theirs:.6g}" if math.isclose(theirs, ours, rel_tol=1e-12) else f"{theirs:.8g}, {ours:.8g}"
            lines.append(
                f"| {result['task']} | {result['items']}, {result['same_text']} | `{number['harness']}` | "
                f"`{number['ensue']}` | {value} | {number['items_alike']} | {reasons} |"
            )
    return "\n".join(lines)


def main(data: Path, model: Path | None) -> None:
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder)
        if model is None:
            split = load_task(CASES[0].task, data / "tasks", shots=0).test
            rows = islice(read_rows(split, CASES[0].task.files), 2000)
            texts = [" ".join([row["question"], *row["choices"]]) for row in rows]
            model = build_model(scratch / "model", texts, context=256, vocab=2000)
        results = agreement(data / "tasks", model, scratch)
    print(as_markdown(results))
    print(json.dumps([{"task": result["task"], **result["hf"]} for result in results], indent=1))
    print(
        write_results("harness_agreement", {"machine": machine("torch", "lm_eval", "transformers"), "cases": results})
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]) if len(sys.argv) > 2 else None)
