"""The work of answering: the model as it is, conversations of which the answers are scored, and no new token."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from torch import Tensor

from ensue.core.device import autocast, choose_device, choose_precision
from ensue.generate.classify import MICRO_TOKENS, sees_ahead
from ensue.generate.forward import reading
from ensue.generate.lm import LM
from ensue.loss.next_token import NextToken
from ensue.model.gpt import GPT
from ensue.model.more_tokens import rebuilt
from ensue.model.weights.huggingface import config_text, stored_tensors
from ensue.recipes.finetuning.adapting import beginning_of, weights_of
from ensue.recipes.finetuning.columns import columns_of
from ensue.recipes.finetuning.config import FineTuneConfig
from ensue.recipes.finetuning.conversations import Talks, read_talk, read_talks
from ensue.recipes.finetuning.table import read_table
from ensue.recipes.finetuning.work import Work
from ensue.recipes.parts import WEIGHTS, tokenizer_files
from ensue.tokens.conversation import ChatTemplate, plain_template, with_template
from ensue.tokens.conversation_stream import ConversationStream, in_order_of_length
from ensue.tokens.examples import Example
from ensue.tokens.tokenizer import Tokenizer


def template_of(lm: LM) -> ChatTemplate:
    """The model's own template, or the plain one."""
    return lm.template or plain_template(lm.tokenizer)


def talks_for(config: FineTuneConfig, lm: LM) -> Talks:
    """The conversations as this model reads them. Raises ValueError for a model that sees the answers beforehand."""
    if sees_ahead(lm.model):
        raise ValueError("a model with a two-way pattern sees the answers that it should learn; tune one without.")
    if config.metric not in ("auto", "loss"):
        raise ValueError(f"--metric {config.metric} cannot be had of answers; they have loss alone.")
    return read_talks(config, lm.tokenizer, template_of(lm), context=lm.config.context)


def instruct_work(config: FineTuneConfig, lm: LM, *, resumed: bool) -> Work:
    """Wire a loaded model, or where `resumed` the model of a checkpoint of this run, to its conversations.

    Raises ValueError for conversations that cannot be read, and for a model that sees what it should foretell.
    """
    talks = talks_for(config, lm)
    base = beginning_of(config, lm) if resumed else lm
    model = with_dropout(base.model, config.dropout)
    device = choose_device(config.device)
    model.to(device)
    checkpoint = lm.path if resumed else None
    weights = weights_of(config, model, model, base=base, checkpoint=checkpoint, new_tokens=0)
    stream = ConversationStream(
        talks.train.examples,
        batch=min(config.batch, len(talks.train.examples)),
        micro_tokens=config.micro_tokens,
        seed=config.seed,
    )
    valid = talks.valid
    precision = choose_precision(config.precision, device)

    def read() -> Mapping[str, float]:
        assert valid is not None
        with autocast(device, precision):
            return answer_readings(model, lm.tokenizer, valid.examples, micro_tokens=config.micro_tokens)

    def tensors() -> Mapping[str, Mapping[str, Tensor]]:
        return {WEIGHTS: stored_tensors(weights.whole()), **weights.tensors()}

    return Work(
        model=model,
        objective=NextToken(),
        stream=stream,
        read=None if valid is None else read,
        metric="loss",
        files={
            **with_template(talks.template, tokenizer_files(lm.tokenizer)),
            **weights.files,
            "config.json": config_text(model, end_token=lm.tokenizer.end).encode(),
        },
        tensors=tensors,
        lm=lambda path: LM(weights.whole(), lm.tokenizer, path, template=talks.template),
        identity={
            "train": talks.train.digest,
            **({} if valid is None else {"valid": valid.digest}),
            "tokenizer": lm.tokenizer.fingerprint,
            "template": hashlib.sha256(talks.template.source.encode()).hexdigest(),
        },
        told=_told(talks, stream),
    )


def with_dropout(gpt: GPT, dropout: float) -> GPT:
    """The same weights under another dropout of embeddings, attention and residuals."""
    config = replace(gpt.config, embedding_dropout=dropout, attention_dropout=dropout, residual_dropout=dropout)
    return rebuilt(gpt, config)


def answer_readings(
    model: GPT, tokenizer: Tokenizer, examples: Sequence[Example], *, micro_tokens: int
) -> dict[str, float]:
    """What the model makes of answers: nats a token ("loss"), and bits for each of their bytes. Tokens that end an
    answer are scored too, and have no bytes."""
    nats, tokens, size = 0.0, 0, 0
    device = model.token_embedding.weight.device
    objective = NextToken()
    with reading(model):
        for batch in in_order_of_length(examples, micro_tokens=micro_tokens):
            found = objective.loss(model, batch.to(device))
            nats, tokens = nats + float(found.total.double()), tokens + found.count
            ids = batch.targets[batch.weights > 0].tolist()
            size += sum(len(tokenizer.token_bytes(token)) for token in ids if token != tokenizer.end)
    return {"loss": nats / tokens, "bits_per_byte": nats / math.log(2) / max(1, size)}


def measure_answers(lm: LM, path: Path, config: FineTuneConfig) -> dict[str, float]:
    """`answer_readings` of a table of conversations, in the columns that the model was tuned on, in full precision.

    Raises ValueError as `read_talk` does.
    """
    columns = columns_of("instruct", read_table(Path(config.data)), config.columns)
    talk = read_talk(path, columns, lm.tokenizer, template_of(lm), context=lm.config.context)
    return answer_readings(lm.model, lm.tokenizer, talk.examples, micro_tokens=MICRO_TOKENS)


def _told(talks: Talks, stream: ConversationStream) -> tuple[str, ...]:
    train, valid = talks.train, talks.valid
    tokens = sum(example.length for example in train.examples)
    counts = f"{len(train.examples):,} conversations to train on"
    counts += f", {len(valid.examples):,} to validate on" if valid is not None else ", none to validate on"
    read = ", ".join(f"{role} from {name}" if role != name else role for role, name in talks.columns.items())
    cuts = str(train.cuts + (valid.cuts if valid is not None else type(train.cuts)()))
    return (
        f"{counts}; read: {read}",
        f"{train.scored:,} of {tokens:,} tokens are answers, and scored; {100 * stream.padding():.1f}% of what is fed "
        "is padding",
        cuts or "no conversation had to be cut",
    )
