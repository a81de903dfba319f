"""The held-out loss against a computation by hand, on a checkpoint that transformers reads."""

import json
import math
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from ensue.generate.load import load
from ensue.loss.next_token import NextToken
from ensue.loss.types import Loss
from ensue.model.gpt import GPT
from ensue.model.presets import gpt
from ensue.recipes.data import Data
from ensue.recipes.held_out import HeldOutLoss, held_out_loss
from ensue.tokens.batch import Batch

CONTEXT = 16


@pytest.fixture(scope="module")
def trained(data: Data, tiny: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    from ensue.cli import main

    run = tmp_path_factory.mktemp("trained") / "run"
    batch = [
        "--batch.start",
        "16",
        "--batch.end",
        "16",
        "--lr",
        "1e-2",
        "--precision",
        "fp32",
        "--evaluate_tokens",
        "700",
    ]
    options = ["--recipe", "gpt2", "--steps", "30", "--evaluate_every", "30", "--final_tokens", "1000000"]
    assert main(["train", str(data.path), "--run", str(run), *tiny, *batch, *options]) == 0
    return run


def by_hand(model: Callable[[Tensor], Tensor], data: Data, tokens: int, stride: int) -> float:
    """Nats of the first `tokens` held-out tokens, one window after another, each token in the first that holds it."""
    ids = [data.tokenizer.end, *data.held_out.tokens[:tokens].tolist()]
    total, scored, start = 0.0, 0, 0
    while scored < tokens:
        window = torch.tensor([ids[start : start + CONTEXT + 1]])
        with torch.no_grad():
            chances = model(window[:, :-1]).double().log_softmax(-1)
        nats = -chances.gather(-1, window[:, 1:, None])[0, :, 0]
        total += float(nats[scored - start :].sum())
        scored = start + len(nats)
        start += stride
    return total


def measure(model: GPT, data: Data, **options: int) -> HeldOutLoss:
    return held_out_loss(model, data.held_out, objective=NextToken(), precision="fp32", **{"micro_batch": 7, **options})


def test_the_rows_of_a_run_are_what_transformers_finds(trained: Path, data: Data) -> None:
    from transformers import GPT2LMHeadModel

    theirs = GPT2LMHeadModel.from_pretrained(trained / "final").eval()
    rows = [json.loads(line) for line in (trained / "metrics.jsonl").read_text().splitlines()]
    *_, along_the_way, last = [row for row in rows if "val_loss" in row]
    assert along_the_way["step"] == last["step"] == 30

    held_out = data.held_out
    texts = [
        data.tokenizer.decode(held_out.tokens[span.start : span.stop - 1].tolist()) for span in held_out.spans([0, 1])
    ]
    sizes = [len(text.encode()) for text in texts]
    nats = by_hand(lambda window: theirs(window).logits, data, len(held_out.tokens), CONTEXT // 2)
    assert last["val_tokens"] == len(held_out.tokens)
    assert last["val_loss"] == pytest.approx(nats / len(held_out.tokens), rel=1e-5)
    assert last["val_bits_per_byte"] == pytest.approx(nats / math.log(2) / sum(sizes), rel=1e-5)
    assert last["val_loss"] < 5.0  # it learnt something: the vocabulary's logarithm is 5.7

    first = held_out.spans([0])[0]
    assert first.stop <= 700 < len(held_out.tokens)  # so that 700 tokens hold one whole document
    nats = by_hand(lambda window: theirs(window).logits, data, first.stop, CONTEXT)
    assert along_the_way["val_loss"] == pytest.approx(nats / first.stop, rel=1e-5)
    assert along_the_way["val_bits_per_byte"] == pytest.approx(nats / math.log(2) / sizes[0], rel=1e-5)


def test_micro_batches_change_nothing(trained: Path, data: Data) -> None:
    model = load(trained).model
    whole = measure(model, data)
    for micro_batch in (1, 3, 1000):
        other = measure(model, data, micro_batch=micro_batch)
        assert other.nats == pytest.approx(whole.nats, rel=1e-6)
        assert (other.tokens, other.bytes) == (whole.tokens, whole.bytes)


class OneNatEach:
    """A loss of exactly one for each token that counts: its mean is 1 only if each is counted once."""

    def loss(self, model: nn.Module, batch: Batch) -> Loss:
        return Loss(batch.weights.sum(), int(batch.weights.sum()))


@settings(max_examples=25)
@given(st.integers(1, CONTEXT), st.integers(1, 40), st.one_of(st.none(), st.integers(1, 2000)))
def test_each_token_counts_once(data: Data, trained: Path, stride: int, micro_batch: int, limit: int | None) -> None:
    shard = data.held_out
    stops = [span.stop for span in shard.spans(range(shard.count))]
    sizes = shard.document_bytes.tolist()
    whole = shard.count if limit is None else max(1, sum(stop <= limit for stop in stops))
    found = held_out_loss(
        GPT.build(gpt(layers=1, width=8, heads=1, context=CONTEXT, vocab=300), 0),
        shard,
        objective=OneNatEach(),  # type: ignore[arg-type]
        micro_batch=micro_batch,
        precision="fp32",
        limit_tokens=limit,
        stride=stride,
    )
    assert found == HeldOutLoss(1.0, found.bits_per_byte, stops[whole - 1], sum(sizes[:whole]))
    assert found.bits_per_byte == pytest.approx(found.tokens / math.log(2) / found.bytes)


def test_dropout_is_off_while_it_measures_and_on_again_after(data: Data) -> None:
    model = GPT.build(gpt(layers=1, width=8, heads=1, context=CONTEXT, vocab=300), 0).train()
    assert model.config.residual_dropout == 0.1
    assert measure(model, data) == measure(model, data)
    assert model.training


def test_held_out_text_shorter_than_a_context(data: Data) -> None:
    tokens = len(data.held_out.tokens)
    model = GPT.build(gpt(layers=1, width=8, heads=1, context=2 * tokens, vocab=300), 0)
    assert measure(model, data, stride=tokens + 9, micro_batch=2).tokens == tokens
