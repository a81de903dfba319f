"""The work of the four tasks of GPT (2018): a head on the model, the paper's objective, rendered examples."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from torch import Tensor

from ensue.core.device import autocast, choose_device, choose_precision
from ensue.generate.classify import HEAD, TASK, Tuned, sees_ahead
from ensue.generate.lm import LM
from ensue.loss.fine_tuning import FineTuning, refuse_two_way
from ensue.model.more_tokens import with_more_tokens
from ensue.model.task_head import TaskModel
from ensue.model.weights.huggingface import config_text, stored_tensors
from ensue.recipes.finetuning.adapting import Weights, beginning_of, weights_of
from ensue.recipes.finetuning.config import FineTuneConfig
from ensue.recipes.finetuning.instruct_work import with_dropout
from ensue.recipes.finetuning.labelled import Labelled, read_labelled
from ensue.recipes.finetuning.measuring import metric_of, readings
from ensue.recipes.finetuning.work import Work
from ensue.recipes.parts import WEIGHTS, tokenizer_files
from ensue.tokens.conversation import with_template
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
    base = beginning_of(config, lm) if resumed else lm
    model = _resumed_model(config, lm) if base is lm and resumed else _fresh_model(config, base, shape)
    if config.auxiliary:
        refuse_two_way(model)
    device = choose_device(config.device)
    model.to(device)
    checkpoint = lm.path if resumed else None
    weights = weights_of(config, model, model.gpt, base=base, checkpoint=checkpoint, new_tokens=NEW_TOKENS)
    stream = ExampleStream(
        labelled.train.examples,
        batch=min(config.batch, len(labelled.train.examples)),
        micro_tokens=config.micro_tokens,
        seed=config.seed,
        looks_ahead=sees_ahead(model.gpt),
    )
    valid, tokenizer = labelled.valid, tokenizer_files(lm.tokenizer)
    precision = choose_precision(config.precision, device)

    def read() -> Mapping[str, float]:
        assert valid is not None
        with autocast(device, precision):
            return readings(model, shape, valid.examples, micro_tokens=config.micro_tokens)

    def tensors() -> Mapping[str, Mapping[str, Tensor]]:
        head = {name: parameter.detach() for name, parameter in model.head.named_parameters()}
        return {WEIGHTS: stored_tensors(weights.whole()), HEAD: head, **weights.tensors()}

    return Work(
        model=model,
        objective=FineTuning(auxiliary=config.auxiliary),
        stream=stream,
        read=None if valid is None else read,
        metric=metric_of(config.metric, shape),
        files={
            **(tokenizer if lm.template is None else with_template(lm.template, tokenizer)),
            **weights.files,
            "config.json": config_text(model.gpt, end_token=lm.tokenizer.end).encode(),
            TASK: (json.dumps(shape.to_json(), ensure_ascii=False, indent=1) + "\n").encode(),
        },
        tensors=tensors,
        lm=lambda path: _whole(model, weights, lm, shape, path),
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
        with_dropout(gpt, config.dropout), outputs=shape.outputs, dropout=config.dropout, seed=config.seed
    )


def _resumed_model(config: FineTuneConfig, lm: LM) -> TaskModel:
    assert lm.tuned is not None
    model = TaskModel(with_dropout(lm.model, config.dropout), outputs=lm.tuned.shape.outputs, dropout=config.dropout)
    model.head.load_state_dict(lm.tuned.model.head.state_dict())
    return model


def _whole(model: TaskModel, weights: Weights, lm: LM, shape: TaskShape, path: Path) -> LM:
    """The model as it stands, with its head."""
    gpt = weights.whole()
    head = TaskModel(gpt, outputs=shape.outputs, dropout=model.dropout)
    head.head = model.head
    return LM(gpt, lm.tokenizer, path, Tuned(head.train(model.training), shape), lm.template)


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
