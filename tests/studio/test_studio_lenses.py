"""What is shown of a model's inside, beside the same sums written out another way."""

import json
from dataclasses import replace
from typing import Any

import pytest
import torch

import ensue
from ensue.generate.lm import LM
from ensue.model.gpt import GPT
from ensue.model.patterns import Banded, Dense
from ensue.studio.inside_page import tokens_by_weight
from ensue.studio.lens_figures import attention_figure, heads_figure, lens_figure
from ensue.studio.lenses import LENS_TOKENS, MOST_PLACES, attention_of, look_inside
from ensue.studio.texts import speaker

from .conftest import World


@pytest.fixture(scope="module")
def lm(world: World) -> LM:
    return ensue.load(world.run)


@pytest.fixture(scope="module")
def tokens(lm: LM) -> list[int]:
    return lm.tokenizer.encode("the fox ran to the old wood <b>狐狸</b>")[: lm.config.context]


def test_the_last_layer_says_what_the_model_says(lm: LM, tokens: list[int]) -> None:
    inside = look_inside(lm, tokens)
    assert len(inside.lens) == lm.config.layers + 1
    assert {len(row) for row in inside.lens} == {len(tokens)}
    with torch.no_grad():
        said = lm.model(torch.tensor([tokens]))[0, :, : lm.tokenizer.vocab_size].softmax(-1).topk(LENS_TOKENS)
    for cell, shares in zip(inside.lens[-1], said.values.tolist(), strict=True):
        assert cell.probabilities == pytest.approx(shares, abs=1e-5)


@pytest.mark.parametrize(
    "changes", [{"norm_place": "post"}, {"patterns": (Banded(3), Dense())}, {"tied": False, "vocab": 350}]
)
def test_other_kinds_of_models(lm: LM, tokens: list[int], changes: dict[str, Any]) -> None:
    config = replace(lm.config, **changes)
    other = LM(GPT.build(config, 3).eval(), lm.tokenizer, lm.path)
    inside = look_inside(other, tokens)
    with torch.no_grad():
        said = other.model(torch.tensor([tokens]))[0, :, : lm.tokenizer.vocab_size].softmax(-1).topk(LENS_TOKENS)
    for cell, shares in zip(inside.lens[-1], said.values.tolist(), strict=True):
        assert cell.probabilities == pytest.approx(shares, abs=1e-5)


def test_where_heads_look(lm: LM, tokens: list[int]) -> None:
    inside = look_inside(lm, tokens)
    assert (len(inside.distance), len(inside.distance[0])) == (lm.config.layers, lm.config.heads)
    for layer in range(lm.config.layers):
        for head in range(lm.config.heads):
            found = attention_of(lm, tokens, layer=layer, head=head)
            back = [sum(w * (i - j) for j, w in enumerate(row)) for i, row in enumerate(found.weights)]
            assert inside.distance[layer][head] == pytest.approx(sum(back) / len(back), abs=1e-4)
            for place, row in enumerate(found.weights):
                assert sum(row) == pytest.approx(1, abs=1e-5)
                assert row[place + 1 :] == (0,) * (len(row) - place - 1)


def test_long_texts_show_their_end(lm: LM) -> None:
    tokens = (lm.tokenizer.encode("the fox ran to the old wood ") * 9)[: lm.config.context]
    shown = look_inside(lm, tokens)
    assert len(shown.labels) == min(MOST_PLACES, len(tokens))
    assert shown.first == len(tokens) - len(shown.labels)
    found = attention_of(lm, tokens, layer=0, head=0)
    for before, row in zip(found.before, found.weights, strict=True):
        assert before + sum(row) == pytest.approx(1, abs=1e-5)


def test_figures_escape_what_a_model_says(lm: LM, tokens: list[int]) -> None:
    inside, say = look_inside(lm, tokens), speaker("en")
    attention = attention_of(lm, tokens, layer=0, head=1)
    labels = ("<b>x</b>", *inside.labels[1:])
    for figure in (
        lens_figure(inside, say),
        heads_figure(inside, say, layer=0, head=1),
        attention_figure(attention, labels, say),
    ):
        text = json.dumps(figure, allow_nan=False)
        assert "<b>" not in text
    html = tokens_by_weight(labels, attention.weights[3], 3)
    assert "<b>" not in html
    assert html.count('data-place="') == len(labels)
