"""The verbs of tasks: adapting a model to one, and measuring it on many."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from tyro.conf import Positional


@dataclass(frozen=True)
class Finetune:
    """Tune a model: on labelled examples as GPT (2018) was, or on prompts and answers.

    DATA is .jsonl, .csv, .tsv (each also .gz or .zst) or .parquet with named columns. Defaults are the paper's,
    and with --lora the adapter's own rate.

      ensue finetune runs/books sst2.jsonl --task classify --run runs/sst2
      ensue finetune runs/books mctest.jsonl --task choice --columns context=story --run runs/mctest
      ensue finetune runs/books alpaca.jsonl.gz --task instruct --lora 8 --run runs/chat
      ensue finetune --resume runs/sst2
    """

    path: Positional[str | None] = None
    """The model: a run, a checkpoint, a Hugging Face folder or a Hub name."""
    data: Positional[Path | None] = None
    """The examples."""
    task: Literal["classify", "entail", "similarity", "choice", "instruct"] = "classify"
    """A text's label, what a premise says of a hypothesis, how alike two sentences are, which choice is right; or
    instruct: what to answer."""
    run: Path | None = None
    """Folder to write the run to; it must not exist."""
    valid: Path | None = None
    """Examples to validate on; a share of DATA is held out unless said."""
    test: Path | None = None
    """Examples that the best model is measured on at the end; the result is in test.json."""
    held_out: float = 0.1
    """Share of DATA to validate on where --valid is not given, or how many rows, from 1 up."""
    split_seed: int = 0
    """Decides which rows are held out."""
    columns: tuple[str, ...] = ()
    """Where the task's parts are, as PART=COLUMN: --columns context=story question=question."""
    epochs: int = 3
    """How often the examples are gone through."""
    batch: int = 32
    """Examples a step."""
    lr: float | None = None
    """The highest learning rate: 6.25e-5, or with --lora 2e-4, unless said."""
    warmup: float = 0.002
    """Share of all steps in which the rate rises; it falls to 0 after."""
    auxiliary: float = 0.5
    """Lambda: how much the text's own loss counts beside the task's. 0 leaves it out, and is faster. Answers have no
    other loss."""
    dropout: float = 0.1
    """Of embeddings, attention, residuals and what the head reads."""
    weight_decay: float = 0.01
    """Of matrices and embeddings."""
    clip: float = 1.0
    """The longest gradient that is taken as it is."""
    micro_tokens: int = 4096
    """Tokens that are computed at a time; less takes less memory."""
    lora: int | None = None
    """Train an adapter of this rank beside weights that stay as they are (LoRA); takes far less memory."""
    lora_alpha: float = 16.0
    """What the adapter adds is scaled by this over its rank."""
    lora_targets: tuple[Literal["qkv", "out", "up", "down"], ...] = ("qkv", "out", "up", "down")
    """Which matrices of every block it stands beside."""
    metric: Literal["auto", "accuracy", "f1", "matthews", "pearson", "spearman", "loss"] = "auto"
    """What the best checkpoint is best in."""
    evaluate_every: int = 0
    """Steps between validations; once an epoch unless said."""
    save_every: int = 0
    """Steps between checkpoints; once an epoch unless said."""
    seed: int = 0
    """Decides the new weights, the order of the examples and the dropout."""
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    """Of the matrix products."""
    device: str = "auto"
    """auto, cpu or cuda."""
    dry_run: bool = False
    """Only show three examples as the model would see them, lengths and balance, or what is scored."""
    resume: Path | None = None
    """Continue this run from its newest whole checkpoint."""

    def start(self) -> None:
        from ensue.model.lora import LoRA
        from ensue.recipes.display import Display
        from ensue.recipes.finetuning.config import ADAPTER_RATE, PAPER_RATE, FineTuneConfig, paper_optimizer
        from ensue.recipes.finetuning.dry_run import dry_run
        from ensue.recipes.finetuning.start import finetune, report, resume

        display = Display()
        if self.resume is not None:
            if self.path is not None or self.run is not None:
                raise ValueError("--resume continues a run with its own model and data; give it alone.")
            report(resume(self.resume, display=display), self.resume, display)
            return
        if self.path is None or self.data is None:
            raise ValueError("say what to tune on what: ensue finetune MODEL DATA --task classify --run runs/tuned")
        lora = None
        if self.lora is not None:
            lora = LoRA(rank=self.lora, alpha=self.lora_alpha, targets=self.lora_targets)
        rate = self.lr if self.lr is not None else PAPER_RATE if lora is None else ADAPTER_RATE
        config = FineTuneConfig(
            task=self.task,
            model=self.path,
            data=str(self.data),
            valid=None if self.valid is None else str(self.valid),
            test=None if self.test is None else str(self.test),
            held_out=self.held_out,
            split_seed=self.split_seed,
            columns=self.columns,
            optimizer=paper_optimizer(lr=rate, weight_decay=self.weight_decay, clip=self.clip),
            epochs=self.epochs,
            batch=self.batch,
            warmup=self.warmup,
            auxiliary=self.auxiliary,
            dropout=self.dropout,
            micro_tokens=self.micro_tokens,
            precision=self.precision,
            device=self.device,
            seed=self.seed,
            metric=self.metric,
            lora=lora,
            evaluate_every=self.evaluate_every,
            save_every=self.save_every,
        )
        if self.dry_run:
            dry_run(config, display=display)
            return
        if self.run is None:
            raise ValueError("say where to write the run: ensue finetune MODEL DATA --task classify --run runs/tuned")
        report(finetune(config, self.run, display=display), self.run, display)
