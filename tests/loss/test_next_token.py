"""The next-token objective is a sum over the targets that count, and is the one that transformers computes."""

import itertools
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ensue.loss.next_token import NextToken
from ensue.model.gpt import GPT
from ensue.model.presets import gpt, gpt2, gpt3, modern
from ensue.model.weights import save_model
from ensue.tokens.batch import Batch

SIZE = {"layers": 2, "width": 8, "heads": 2, "context": 6, "vocab": 11}
CONFIGS = [gpt(**SIZE), gpt2(**SIZE), gpt3(**SIZE), modern(**SIZE)]


def sample_batch(rows, *, seed=0, segments=False):
    generator = torch.Generator().manual_seed(seed)
    tokens = torch.randint(11, (rows, 6), generator=generator)
    targets = torch.randint(11, (rows, 6), generator=generator)
    weights = (torch.rand(rows, 6, generator=generator) < 0.6).float()
    numbers = torch.randint(2, (rows, 6), generator=generator).cumsum(1).int() if segments else None
    return Batch(tokens, targets, weights, numbers)


def rows_of(batch, part):
    segments = None if batch.segments is None else batch.segments[part]
    return Batch(batch.tokens[part], batch.targets[part], batch.weights[part], segments)


def exact_model(config, seed=3):
    """In fp64, and with weights large enough that the logits differ."""
    model = GPT.build(config, seed).double().eval()
    with torch.no_grad():
        for index, parameter in enumerate(model.parameters()):
            noise = torch.randn(parameter.shape, generator=torch.Generator().manual_seed(index), dtype=torch.float64)
            parameter.add_(noise, alpha=0.2)
    return model


@settings(max_examples=25)
@given(
    cuts=st.sets(st.integers(1, 8)),
    config=st.sampled_from(CONFIGS),
    seed=st.integers(0, 99),
    segments=st.booleans(),
)
def test_the_sum_does_not_depend_on_the_micro_batches(cuts, config, seed, segments):
    model, batch, objective = exact_model(config), sample_batch(9, seed=seed, segments=segments), NextToken()
    whole = objective.loss(model, batch)
    edges = [0, *sorted(cuts), 9]
    parts = [rows_of(batch, slice(start, end)) for start, end in itertools.pairwise(edges)]
    losses = [objective.loss(model, part) for part in parts]
    assert sum(loss.count for loss in losses) == whole.count == objective.count(batch) == int(batch.weights.sum())
    assert float(sum(loss.total.detach() for loss in losses)) == pytest.approx(
        float(whole.total.detach()), rel=1e-12, abs=1e-12
    )


@pytest.mark.parametrize("config", CONFIGS)
def test_it_is_the_sum_of_log_probabilities_of_the_counted_targets(config):
    """Equation 1 of GPT (2018), one token at a time from the model's own logits."""
    model, batch = exact_model(config), sample_batch(3)
    log_probabilities = model(batch.tokens).log_softmax(-1).detach()
    total = 0.0
    for row in range(3):
        for place in range(6):
            if batch.weights[row, place]:
                total -= float(log_probabilities[row, place, batch.targets[row, place]])
    assert NextToken().loss(model, batch).total.item() == pytest.approx(total, rel=1e-12)


def test_an_untrained_model_costs_about_log_vocabulary():
    model, batch = GPT.build(CONFIGS[1], seed=0).eval(), sample_batch(50)
    loss = NextToken().loss(model, batch)
    assert loss.total.item() / loss.count == pytest.approx(math.log(11), rel=0.02)


@pytest.mark.parametrize(("config", "kind"), [(CONFIGS[0], "openai-gpt"), (CONFIGS[1], "gpt2")])
def test_equals_transformers_loss_on_the_same_weights(config, kind, tmp_path):
    """Theirs is the mean over all positions but the first, which is predicted from nothing; -100 counts nothing."""
    from transformers import AutoModelForCausalLM

    model = exact_model(config).float()
    save_model(model, tmp_path)
    theirs = AutoModelForCausalLM.from_pretrained(tmp_path).double().eval()
    assert theirs.config.model_type == kind
    generator = torch.Generator().manual_seed(1)
    text = torch.randint(11, (4, 6), generator=generator)
    counted = torch.rand(4, 6, generator=generator) < 0.7
    expected = theirs(text, labels=text.where(counted, torch.tensor(-100))).loss
    batch = Batch(text[:, :-1], text[:, 1:], counted[:, 1:].float())
    loss = NextToken().loss(model.double(), batch)
    assert loss.total.item() / loss.count == pytest.approx(expected.item(), rel=1e-6)


@pytest.mark.parametrize("config", [CONFIGS[0], CONFIGS[3]])
def test_gradients_of_a_whole_model_are_those_of_finite_differences(config):
    model, batch, objective = exact_model(config), sample_batch(2, segments=True), NextToken()
    objective.loss(model, batch).total.backward()
    step = 1e-5
    for name, parameter in model.named_parameters():
        flat, gradient = parameter.detach().view(-1), parameter.grad.view(-1)
        for place in {0, flat.numel() // 2, flat.numel() - 1}:
            start = float(flat[place])
            readings = []
            for moved in (start + step, start - step):
                flat[place] = moved
                with torch.no_grad():
                    readings.append(float(objective.loss(model, batch).total))
            flat[place] = start
            slope = (readings[0] - readings[1]) / (2 * step)
            assert slope == pytest.approx(float(gradient[place]), rel=1e-5, abs=1e-7), name


def test_the_states_may_come_from_a_compiled_twin():
    model, batch, asked = exact_model(CONFIGS[1]), sample_batch(3, segments=True), []

    def states(tokens, *, segments):
        asked.append((tokens, segments))
        return model.hidden(tokens, segments=segments)

    assert NextToken(states).loss(model, batch).total.item() == NextToken().loss(model, batch).total.item()
    assert asked == [(batch.tokens, batch.segments)]


def test_it_has_no_state_and_refuses_some():
    objective = NextToken()
    assert objective.state_dict() == {}
    objective.load_state_dict({})
    with pytest.raises(ValueError, match=r"the next-token objective has no state.*beta"):
        objective.load_state_dict({"beta": 1})
