"""New token rows behind a model's vocabulary, and a head that reads what each task's transformation says."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from ensue.model.gpt import GPT
from ensue.model.more_tokens import rebuilt, with_more_tokens
from ensue.model.presets import gpt, gpt2, modern
from ensue.model.task_head import TaskModel

SIZE = {"layers": 2, "width": 8, "heads": 2, "context": 12, "vocab": 11}


@pytest.mark.parametrize("config", [gpt(**SIZE), gpt2(**SIZE), replace(modern(**SIZE), tied=False)])
def test_more_tokens_leave_the_model_as_it_was(config):
    model = GPT.build(config, seed=1).eval()
    larger = with_more_tokens(model, 3, seed=5)
    assert larger.config == replace(config, vocab=14)
    tokens = torch.randint(11, (2, 12), generator=torch.Generator().manual_seed(0))
    assert torch.equal(larger.hidden(tokens), model.hidden(tokens))
    assert torch.allclose(larger(tokens)[..., :11], model(tokens), atol=1e-6)
    assert torch.equal(with_more_tokens(model, 3, seed=5).token_embedding.weight, larger.token_embedding.weight)
    assert not torch.equal(with_more_tokens(model, 3, seed=6).token_embedding.weight, larger.token_embedding.weight)
    many = with_more_tokens(model, 5000, seed=0)
    for table in {many.token_embedding.weight, many.head_weight}:
        assert float(table[11:].detach().std()) == pytest.approx(0.02, rel=0.02)
    assert torch.equal(model.token_embedding.weight, larger.token_embedding.weight[:11])


def test_another_config_keeps_the_weights():
    model = GPT.build(gpt(**SIZE), seed=1).eval()
    other = rebuilt(model, replace(model.config, attention_dropout=0.0, embedding_dropout=0.5))
    assert other.config.embedding_dropout == 0.5
    assert {id(parameter) for parameter in other.parameters()} == {id(parameter) for parameter in model.parameters()}
    assert other.blocks[0].attention.dropout == 0.0


def arguments(example, place, extract, answers):
    return {
        "example": torch.tensor(example),
        "place": torch.tensor(place),
        "extract": torch.tensor(extract),
        "answers": answers,
    }


def test_a_similarity_adds_its_two_orders_before_the_layer():
    model = TaskModel.build(GPT.build(gpt(**SIZE), seed=1), outputs=4, dropout=0.1, seed=0).eval()
    hidden = torch.randn(5, 6, 8, generator=torch.Generator().manual_seed(0))
    scores = model.answer(hidden, **arguments([0, 0, 1, 1, 2], [0, 1, 0, 1, 0], [5, 2, 0, 1, 3], 4))
    summed = torch.stack([hidden[0, 5] + hidden[1, 2], hidden[2, 0] + hidden[3, 1], hidden[4, 3]])
    assert torch.allclose(scores, summed @ model.head.weight.t() + model.head.bias, atol=1e-6)


def test_choices_are_scored_alone_and_may_differ_in_number():
    model = TaskModel.build(GPT.build(gpt(**SIZE), seed=1), outputs=1, dropout=0.1, seed=0).eval()
    hidden = torch.randn(5, 6, 8, generator=torch.Generator().manual_seed(0))
    scores = model.answer(hidden, **arguments([0, 0, 0, 1, 1], [0, 1, 2, 0, 1], [5, 2, 0, 1, 3], 3))
    alone = [model.head(hidden[row, place]).item() for row, place in enumerate([5, 2, 0, 1, 3])]
    assert scores[0].tolist() == pytest.approx(alone[:3], abs=1e-6)
    assert scores[1].tolist() == pytest.approx([*alone[3:], float("-inf")], abs=1e-6)


def test_choices_of_an_example_share_one_dropout_mask():
    """As in the paper's code: equal candidates stay equal in training, and examples differ."""
    model = TaskModel.build(GPT.build(gpt(**SIZE), seed=1), outputs=1, dropout=0.5, seed=0).train()
    nn.init.normal_(model.head.weight)
    hidden = torch.randn(1, 6, 8).expand(4, 6, 8)
    torch.manual_seed(0)
    scores = model.answer(hidden, **arguments([0, 0, 1, 1], [0, 1, 0, 1], [5, 5, 5, 5], 2))
    assert torch.equal(scores[:, 0], scores[:, 1])
    assert scores[0, 0] != scores[1, 0]


def test_a_fresh_head():
    model = TaskModel.build(GPT.build(gpt(**SIZE), seed=1), outputs=1000, dropout=0.1, seed=0)
    assert float(model.head.weight.detach().std()) == pytest.approx(0.02, rel=0.05)
    assert not model.head.bias.any()
