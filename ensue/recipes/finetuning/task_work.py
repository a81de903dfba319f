"""The work of the four tasks of GPT (2018): a head on the model, the paper's objective, rendered examples."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace

from torch import Tensor

from ensue.core.device import autocast, choose_device, choose_precision
from ensue.generate.classify import HEAD, TASK, Tuned, sees_ahead
from ensue.generate.lm import LM
from ensue.loss.fine_tuning import FineTuning, refuse_two_way
from ensue.model.gpt import GPT
from ensue.model.more_tokens import rebuilt, with_more_tokens
from ensue.model.task_head import TaskModel
from ensue.model.weights.huggingface import config_text, stored_tensors
from ensue.recipes.finetuning.config import FineTuneConfig
from ensue.recipes.finetuning.labelled import Labelled, read_labelled
from ensue.recipes.finetuning.measuring import metric_of, readings
from ensue.recipes.finetuning.work import Work
from ensue.recipes.parts import WEIGHTS, tokenizer_files
from ensue.tokens.examples import ExampleStream
from ensue.tokens.task_shapes import NEW_TOKENS, Marks, TaskShape


def labelled_for(config: FineTuneConfig, lm: LM) -> Labelled:
    """The examples as this model reads them. A model that was tuned before has its new tokens already."""
    marks = Marks.behind(lm.config.vocab) if lm.tuned is None else lm.tuned.shape.marks
    return read_labelled(config, lm.tokenizer, marks=marks, context=lm.config.context)


def task_work(config: FineTuneConfig, lm: LM, *, resumed: bool) -> Work:
    """Wire a loaded model, or where `resumed` the model of a checkpoint of this run, to its examples.

    Raises ValueError for examples that cannot be read, and for a loss that this model cannot have.
    """
    labelled = labelled_for(config, lm)
    shape = labelled.shape
    if resumed and (lm.tuned is None or lm.tuned.shape != shape):
        raise ValueError(f"{lm.path / TASK} tells of another task than {config.data}; put the run's own data back.")
    model = _resumed_model(config, lm) if resumed else _fresh_model(config, lm, shape)
    if config.auxiliary:
        refuse_two_way(model)
    device = choose_device(config.device)
    model.to(device)
    stream = ExampleStream(
        labelled.train.examples,
        batch=min(config.batch, len(labelled.train.examples)),
        micro_tokens=config.micro_tokens,
        seed=config.seed,
        looks_ahead=sees_ahead(model.gpt),
    )
    valid = labelled.valid
    precision = choose_precision(config.precision, device)

    def read() -> Mapping[str, float]:
        assert valid is not None
        with autocast(device, precision):
            return readings(model, shape, valid.examples, micro_tokens=config.micro_tokens)

    def tensors() -> Mapping[str, Mapping[str, Tensor]]:
        head = {name: parameter.detach() for name, parameter in model.head.named_parameters()}
        return {WEIGHTS: stored_tensors(model.gpt), HEAD: head}

    return Work(
        model=model,
        objective=FineTuning(auxiliary=config.auxiliary),
        stream=stream,
        read=None if valid is None else read,
        metric=metric_of(config.metric, shape),
        files={
            **tokenizer_files(lm.tokenizer),
            "config.json": config_text(model.gpt, end_token=lm.tokenizer.end).encode(),
            TASK: (json.dumps(shape.to_json(), ensure_ascii=False, indent=1) + "\n").encode(),
        },
        tensors=tensors,
        lm=lambda path: LM(model.gpt, lm.tokenizer, path, Tuned(model, shape)),
        identity={
            "train": labelled.train.digest,
            **({} if valid is None else {"valid": valid.digest}),
            "tokenizer": lm.tokenizer.fingerprint,
        },
        told=_told(labelled, stream),
    )


def _fresh_model(config: FineTuneConfig, lm: LM, shape: TaskShape) -> TaskModel:
    known = lm.config.vocab if lm.tuned is None else lm.config.vocab - NEW_TOKENS
    gpt = lm.model if known < lm.config.vocab else with_more_tokens(lm.model, NEW_TOKENS, seed=config.seed)
    return TaskModel.build(
        _with_dropout(gpt, config.dropout), outputs=shape.outputs, dropout=config.dropout, seed=config.seed
    )


def _resumed_model(config: FineTuneConfig, lm: LM) -> TaskModel:
    assert lm.tuned is not None
    model = TaskModel(_with_dropout(lm.model, config.dropout), outputs=lm.tuned.shape.outputs, dropout=config.dropout)
    model.head.load_state_dict(lm.tuned.model.head.state_dict())
    return model


def _with_dropout(gpt: GPT, dropout: float) -> GPT:
    config = replace(gpt.config, embedding_dropout=dropout, attention_dropout=dropout, residual_dropout=dropout)
    return rebuilt(gpt, config)


def _told(labelled: Labelled, stream: ExampleStream) -> tuple[str, ...]:
    shape, valid = labelled.shape, labelled.valid
    counts = f"{len(labelled.train.examples):,} examples to train on"
    counts += f", {len(valid.examples):,} to validate on" if valid is not None else ", none to validate on"
    counts += f", {len(labelled.test.examples):,} to test on" if labelled.test is not None else ""
    read = ", ".join(f"{role} from {name}" if role != name else role for role, name in shape.columns)
    cut = labelled.train.cut + (valid.cut if valid is not None else 0)
    cuts = f"{cut:,} texts were longer than {shape.limit} tokens and cut" if cut else "no text had to be cut"
    return (
        f"{counts}; read: {read}",
        f"answers: {balance(labelled)}",
        f"{cuts}; {100 * stream.padding():.1f}% of what is fed is padding",
    )


def balance(labelled: Labelled) -> str:
    """How often each answer is right in what is trained on."""
    total = max(1, len(labelled.train.examples))
    return ", ".join(f"{name} {count:,} ({100 * count / total:.0f}%)" for name, count in labelled.train.balance.items())
