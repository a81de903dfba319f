"""The contenders of the fine-tuning benchmark: processes that step when they are told to and report what it took."""

from __future__ import annotations

import resource
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ensue.core.device import choose_precision
from ensue.core.memory import keep_freed_memory
from ensue.loss.fine_tuning import FineTuning
from ensue.model.config import GPTConfig
from ensue.model.gpt import GPT
from ensue.model.task_head import TaskModel
from ensue.model.weights.huggingface import save_model
from ensue.recipes.finetuning.config import paper_optimizer
from ensue.tokens.examples import Example, ExampleStream
from ensue.tokens.task_batch import TaskBatch
from ensue.train.engine import Engine
from ensue.train.optimizer import Optimizer
from ensue.train.schedule import Schedule

CPU = torch.device("cpu")
SEED = 1
DROPOUT = 0.1
AUXILIARY = 0.5
CHOICES = 2


@dataclass(frozen=True)
class Job:
    """Multiple choice as the paper tuned on ROCStories: `batch` examples of two rows a step, of `shortest` to `longest`
    tokens each."""

    config: GPTConfig
    batch: int = 32
    shortest: int = 40
    longest: int = 64

    def stream(self) -> ExampleStream:
        draw = np.random.default_rng(SEED)
        examples = []
        for number in range(20 * self.batch):
            lengths = draw.integers(self.shortest, self.longest + 1, CHOICES)
            rows = tuple(draw.integers(0, self.config.vocab, length).astype(np.int32) for length in lengths)
            examples.append(Example(rows, np.eye(CHOICES, dtype=np.float32)[number % CHOICES], str(number)))
        # One micro-batch a step, so that both do the same products.
        return ExampleStream(examples, batch=self.batch, micro_tokens=1 << 30, seed=SEED)

    def model(self) -> TaskModel:
        return TaskModel.build(GPT.build(self.config, SEED), outputs=1, dropout=DROPOUT, seed=SEED)


def serve_ensue(connection: Connection, job: Job, threads: int) -> None:
    """The engine, as `ensue finetune` wires it: a step for every message, None ends it."""
    torch.set_num_threads(threads)
    keep_freed_memory()
    model, stream, config = job.model(), job.stream(), paper_optimizer()
    engine = Engine(
        model=model,
        objective=FineTuning(auxiliary=AUXILIARY),
        stream=stream,
        optimizer=Optimizer(model, config),
        schedule=Schedule("linear", 0, 1000),
        clip=config.clip,
        device=CPU,
        precision=choose_precision("auto", CPU),
        seed=SEED,
    )
    connection.send({})
    while (step := connection.recv()) is not None:
        begun = time.perf_counter()
        loss = engine.step(step).loss
        connection.send({"seconds": time.perf_counter() - begun, "loss": loss, "peak_mb": _peak_mb()})


def serve_trainer(connection: Connection, job: Job, threads: int) -> None:
    """`transformers.Trainer` over OpenAIGPTDoubleHeadsModel: same weights, batches, loss, optimizer and clipping."""
    torch.set_num_threads(threads)
    from transformers import Trainer, TrainerCallback, TrainingArguments
    from transformers.utils import logging

    logging.disable_progress_bar()
    losses: list[float] = []

    class Told(TrainerCallback):
        """Waits for a message before each step; the seconds go back after it."""

        begun = 0.0

        def on_step_begin(self, args: Any, state: Any, control: Any, **others: Any) -> Any:
            if connection.recv() is None:
                raise KeyboardInterrupt
            self.begun = time.perf_counter()

        def on_step_end(self, args: Any, state: Any, control: Any, **others: Any) -> Any:
            seconds = time.perf_counter() - self.begun
            connection.send({"seconds": seconds, "loss": losses[-1], "peak_mb": _peak_mb()})

    with tempfile.TemporaryDirectory() as folder:
        options = TrainingArguments(
            output_dir=folder,
            use_cpu=True,
            bf16=choose_precision("auto", CPU) == "bf16",
            per_device_train_batch_size=1,  # of batches that are made already
            max_steps=1000,
            learning_rate=6.25e-5,
            adam_beta2=0.999,
            weight_decay=0.01,
            max_grad_norm=1.0,
            lr_scheduler_type="linear",
            optim="adamw_torch_fused",
            save_strategy="no",
            logging_strategy="no",
            report_to=[],
            remove_unused_columns=False,
            dataloader_pin_memory=False,
            disable_tqdm=True,
        )
        trainer = Trainer(
            model=_TwoHeads(job, losses),
            args=options,
            train_dataset=_Batches(job.stream()),
            data_collator=_as_arguments,
            callbacks=[Told()],
        )
        connection.send({})
        try:
            trainer.train()
        except KeyboardInterrupt:
            return


class _Batches(torch.utils.data.IterableDataset[TaskBatch]):
    """One batch a step, in the stream's order."""

    def __init__(self, stream: ExampleStream) -> None:
        self._stream = stream

    def __iter__(self) -> Iterator[TaskBatch]:
        for step in range(1000):
            yield from self._stream.batches(step)


def _as_arguments(batches: list[TaskBatch]) -> dict[str, Tensor]:
    """The one batch, as the Trainer gives it to the model."""
    return {"tokens": batches[0].tokens, "extract": batches[0].extract, "answer": batches[0].answer}


class _TwoHeads(nn.Module):
    """Their model with the paper's loss, whose text part is their mean over all targets."""

    def __init__(self, job: Job, losses: list[float]) -> None:
        from transformers import OpenAIGPTDoubleHeadsModel

        super().__init__()
        ours = job.model()
        with tempfile.TemporaryDirectory() as folder:
            save_model(ours.gpt, Path(folder))
            self.model = OpenAIGPTDoubleHeadsModel.from_pretrained(folder, summary_first_dropout=DROPOUT)
        self.model.multiple_choice_head.summary.load_state_dict(ours.head.state_dict())
        self._losses = losses

    def forward(self, tokens: Tensor, extract: Tensor, answer: Tensor) -> dict[str, Tensor]:
        padding = torch.arange(tokens.shape[1])[None] > extract[:, None]
        size = (len(answer), CHOICES, -1)
        found = self.model(
            input_ids=tokens.view(size),
            mc_token_ids=extract.view(len(answer), CHOICES),
            labels=tokens.masked_fill(padding, -100).view(size),
            mc_labels=answer.argmax(1),
        )
        loss = found.mc_loss + AUXILIARY * found.loss
        self._losses.append(float(loss.detach()))
        return {"loss": loss}


def _peak_mb() -> int:
    """Most memory this process has held; macOS counts in bytes, Linux in KiB."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return round(peak / (1e6 if sys.platform == "darwin" else 1e6 / 1024))
