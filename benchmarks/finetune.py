"""A fine-tuning step beside `transformers`' Trainer on the same batch, and how much of what is fed is padding.

    python -m benchmarks.finetune TASKS [--rounds 5] [--shape 124m]

TASKS is a folder with sst2_train (.jsonl.gz). Both train a GPT-2 with a linear head on the same 32 rows at a time, as
long as they are after padding, with AdamW and clipping, in bf16 where this processor multiplies it faster. Contenders
take turns; the first steps of each are not counted.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.measure import machine, write_results
from ensue.core.device import choose_precision
from ensue.evaluate.rows import read_rows
from ensue.evaluate.splits import find_split
from ensue.evaluate.task import Files
from ensue.loss.fine_tuning import FineTuning
from ensue.model.config import GPTConfig
from ensue.model.gpt import GPT
from ensue.model.presets import gpt2
from ensue.model.task_head import TaskModel
from ensue.recipes.display import Display
from ensue.recipes.finetuning.config import MICRO_TOKENS, paper_optimizer
from ensue.recipes.machine import ready_machine
from ensue.tokens.byte_level import train_byte_level
from ensue.tokens.examples import Example, ExampleStream, batch_of
from ensue.tokens.task_batch import TaskBatch
from ensue.tokens.task_shapes import Marks, TaskShape, render, segments_of
from ensue.train.engine import Engine
from ensue.train.optimizer import Optimizer
from ensue.train.schedule import Schedule

BATCH, UNCOUNTED = 32, 2
SHAPES = {"124m": (12, 768, 12), "tiny": (2, 64, 2)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tasks", type=Path)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--shape", choices=sorted(SHAPES), default="124m")
    parser.add_argument("--no-save", action="store_true")
    arguments = parser.parse_args()
    layers, width, heads = SHAPES[arguments.shape]
    examples, vocab = sst2(arguments.tasks)
    device = torch.device("cpu")
    precision = choose_precision("auto", device)
    ready_machine(device, precision, Display(to_stderr=True))
    told: dict[str, Any] = {"precision": precision, "padding": padding(examples)}
    batches = list(fixed_batches(examples, arguments.rounds + UNCOUNTED))
    told["rows"] = BATCH
    told["tokens_of_rows"] = [int(batch.tokens.shape[1]) for batch in batches[UNCOUNTED:]]
    for dropout in (0.0, 0.1):
        config = gpt2(layers=layers, width=width, heads=heads, context=512, vocab=vocab)
        contenders = {
            "ensue": ours(config, batches, dropout, auxiliary=0.0, precision=precision),
            "ensue, with the auxiliary loss": ours(config, batches, dropout, auxiliary=0.5, precision=precision),
            "transformers Trainer": of_trainer(config, batches, dropout, precision=precision),
        }
        told[f"dropout {dropout:g}"] = in_turns(contenders, len(batches))
    if not arguments.no_save:
        write_results("finetune", {"machine": machine("torch", "transformers", "accelerate"), **told})
    print(told)


def sst2(tasks: Path) -> tuple[list[Example], int]:
    """SST-2's training rows as GPT's code renders them, with a tokenizer of 50,254 tokens at most and three marks."""
    files = Files(test="sst2_train", columns=("text", "label"))
    rows = read_rows(find_split(tasks, files.test, role="train"), files)[:20_000]
    tokenizer = train_byte_level((row["text"] for row in rows), vocab_size=8192, or_fewer=True)
    vocab = 50_257
    shape = TaskShape(task="classify", marks=Marks.behind(vocab - 3), context=512, labels=("0", "1"))
    rendered = render(shape, tokenizer, [segments_of("classify", row["text"]) for row in rows])
    answers = [np.eye(2, dtype=np.float32)[int(row["label"])] for row in rows]
    return [Example(each.rows, answer, "") for each, answer in zip(rendered, answers, strict=True)], vocab


def padding(examples: Sequence[Example]) -> dict[str, float]:
    """The share of padding by length buckets, and in shuffled batches of 32 as a collator pads them."""
    stream = ExampleStream(examples, batch=BATCH, micro_tokens=MICRO_TOKENS, seed=0)
    order = np.random.default_rng(0).permutation(len(examples))[: len(examples) // BATCH * BATCH].reshape(-1, BATCH)
    lengths = np.array([example.length for example in examples])[order]
    return {"ensue": stream.padding(), "shuffled": float(1 - lengths.sum() / (lengths.max(1) * BATCH).sum())}


def fixed_batches(examples: Sequence[Example], count: int) -> Iterator[TaskBatch]:
    """Batches that both contenders get, of the stream's own making."""
    stream = ExampleStream(examples, batch=BATCH, micro_tokens=1 << 30, seed=0)
    for step in range(count):
        yield batch_of([examples[number] for number in stream.numbers(step)], looks_ahead=False)


class Given:
    """A stream of batches that are there already."""

    def __init__(self, batches: Sequence[TaskBatch]) -> None:
        self._batches = batches

    def batches(self, step: int) -> Iterator[TaskBatch]:
        yield self._batches[step]

    def documents(self, step: int) -> list[Any]:
        return []


def ours(
    config: GPTConfig, batches: Sequence[TaskBatch], dropout: float, *, auxiliary: float, precision: str
) -> Callable[[int], float]:
    from dataclasses import replace

    changed = replace(config, embedding_dropout=dropout, attention_dropout=dropout, residual_dropout=dropout)
    model = TaskModel.build(GPT.build(changed, 0), outputs=2, dropout=dropout, seed=0)
    engine = Engine(
        model=model,
        objective=FineTuning(auxiliary=auxiliary),
        stream=Given(batches),
        optimizer=Optimizer(model, paper_optimizer()),
        schedule=Schedule("constant", 0, len(batches)),
        clip=1.0,
        device=torch.device("cpu"),
        precision=precision,
        seed=0,
    )

    def step(index: int) -> float:
        start = time.perf_counter()
        engine.step(index)
        return time.perf_counter() - start

    return step


def of_trainer(
    config: GPTConfig, batches: Sequence[TaskBatch], dropout: float, *, precision: str
) -> Callable[[int], float]:
    """One `Trainer.training_step`, clipping and AdamW, as `Trainer.train` does them, on the same tokens."""
    from transformers import GPT2Config, GPT2ForSequenceClassification, Trainer, TrainingArguments

    model = GPT2ForSequenceClassification(
        GPT2Config(
            vocab_size=config.vocab,
            n_positions=config.context,
            n_layer=config.layers,
            n_embd=config.width,
            n_head=config.heads,
            embd_pdrop=dropout,
            attn_pdrop=dropout,
            resid_pdrop=dropout,
            pad_token_id=0,
            num_labels=2,
        )
    )
    arguments = TrainingArguments(
        output_dir=tempfile.mkdtemp(), use_cpu=True, bf16=precision == "bf16", learning_rate=6.25e-5, report_to=[]
    )
    trainer = Trainer(model=model, args=arguments)
    trainer.current_gradient_accumulation_steps = 1  # which `train` sets
    optimizer = trainer.create_optimizer()

    def step(index: int) -> float:
        batch = batches[index]
        given = {
            "input_ids": batch.tokens,
            "attention_mask": (torch.arange(batch.tokens.shape[1])[None] <= batch.extract[:, None]).long(),
            "labels": batch.answer.argmax(1),
        }
        start = time.perf_counter()
        trainer.training_step(model, given)
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        model.zero_grad()
        return time.perf_counter() - start

    return step


def in_turns(contenders: dict[str, Callable[[int], float]], steps: int) -> dict[str, float]:
    """Median seconds of a step of each."""
    readings: dict[str, list[float]] = {name: [] for name in contenders}
    names = list(contenders)
    for index in range(steps):
        for place in range(len(names)):
            name = names[(index + place) % len(names)]
            seconds = contenders[name](index)
            if index >= UNCOUNTED:
                readings[name].append(seconds)
    return {name: float(f"{statistics.median(found):.4g}") for name, found in readings.items()}


if __name__ == "__main__":
    main()
