"""One step of the engine: sums divided once, torch's cut, draws that are the step's own, and no bad update."""

import math
from dataclasses import replace

import pytest
import torch

from ensue.core.seeds import seed_for
from ensue.loss.next_token import NextToken
from ensue.loss.types import Loss
from ensue.model.presets import gpt, gpt2
from ensue.tokens.stream import BatchRamp
from ensue.train.engine import Diverged
from ensue.train.optimizer import OptimizerConfig
from ensue.train.schedule import Schedule

DROPPING = gpt(layers=2, width=16, heads=2, context=8, vocab=13)
STILL = OptimizerConfig(lr=0.0, weight_decay=0.0)


def weights_of(engine):
    return {name: parameter.detach().clone() for name, parameter in engine.model.named_parameters()}


def gradients_of(engine):
    return {name: parameter.grad.clone() for name, parameter in engine.model.named_parameters()}


def separate_gradients(engine, index):
    """Each micro-batch's own gradient of its own sum, and its count, with nothing accumulated."""
    for place, batch in enumerate(engine.stream.batches(index)):
        engine.model.train()
        engine.model.zero_grad(set_to_none=True)
        torch.manual_seed(seed_for(engine.seed, "dropout", index, place))
        loss = engine.objective.loss(engine.model, batch)
        loss.total.backward()
        yield gradients_of(engine), loss.count


@pytest.mark.parametrize("config", [DROPPING, gpt2(layers=2, width=16, heads=2, context=8, vocab=13)])
@pytest.mark.parametrize("sizes", [(4,), (2,), (1, 3), (1,)])
def test_the_gradient_is_to_the_bit_the_sum_of_the_micro_batches_divided_once(make_engine, make_stream, config, sizes):
    engine = make_engine(config, stream=make_stream(sizes), optimizer=STILL)
    parts = list(separate_gradients(engine, 0))
    assert len({count for _, count in parts}) == len(parts), "uneven micro-batches, or the test shows nothing"
    engine.step(0)
    count = sum(count for _, count in parts)
    for name, gradient in gradients_of(engine).items():
        total = parts[0][0][name]
        for part, _ in parts[1:]:
            total = total + part[name]
        assert torch.equal(gradient, total * (1.0 / count)), name


def test_a_mean_of_means_would_be_another_gradient(make_engine, make_stream):
    engine = make_engine(stream=make_stream((1, 3)), optimizer=STILL)
    parts = list(separate_gradients(engine, 0))
    engine.step(0)
    for name, gradient in gradients_of(engine).items():
        wrong = sum(part[name] / count for part, count in parts) / len(parts)
        if float(gradient.norm()) > 1e-6:
            assert float((wrong - gradient).norm() / gradient.norm()) > 0.01, name


def test_any_split_into_micro_batches_trains_the_same_model(make_engine, make_stream):
    """In fp64, where the order of sums costs nothing. Epsilon keeps AdamW from dividing rounding noise by itself."""
    results = []
    ramp = BatchRamp(2, 5, steps=3)
    for sizes in ((9,), (1,), (2,), (1, 3), (3, 1, 2)):
        optimizer = OptimizerConfig(lr=1e-2, epsilon=1e-5)
        engine = make_engine(stream=make_stream(sizes, ramp), optimizer=optimizer, dtype=torch.float64, clip=1.0)
        steps = [engine.step(index) for index in range(3)]
        results.append((weights_of(engine), [(step.loss, step.grad_norm, step.tokens) for step in steps]))
    first = make_engine(dtype=torch.float64)
    for weights, rows in results[1:]:
        for name, tensor in weights.items():
            torch.testing.assert_close(tensor, results[0][0][name], rtol=0, atol=1e-12)
            assert not torch.equal(tensor, first.model.get_parameter(name)), "it moved"
        for row, expected in zip(rows, results[0][1], strict=True):
            assert row == pytest.approx(expected, rel=1e-12)


def test_a_step_tells_what_it_did(make_engine, make_stream):
    schedule = Schedule("linear", warmup=2, steps=10)
    engine = make_engine(stream=make_stream((1, 3)), schedule=schedule, dtype=torch.float64)
    total = sum(NextToken().loss(engine.model, batch).total.item() for batch in engine.stream.batches(0))
    count = sum(NextToken().count(batch) for batch in engine.stream.batches(0))
    first, second = engine.step(0), engine.step(1)
    assert (first.index, second.index) == (1, 2), "finished steps are counted"
    assert first.loss == pytest.approx(total / count, rel=1e-12)
    assert (first.tokens, second.tokens) == (count, count + NextToken().count(next(iter(make_stream().batches(1)))))
    assert (first.lr, second.lr) == (1e-2 * schedule.factor(0), 1e-2 * schedule.factor(1))
    assert first.seconds > 0


class TwoSums:
    """Next token, with the number of times the model was right as a further sum."""

    def __init__(self):
        self.inner = NextToken()

    def count(self, batch):
        return self.inner.count(batch)

    def loss(self, model, batch):
        loss = self.inner.loss(model, batch)
        right = ((model(batch.tokens).argmax(-1) == batch.targets) * batch.weights).sum()
        return Loss(loss.total, loss.count, {"right": right})

    def state_dict(self):
        return {}

    def load_state_dict(self, state):
        pass


def test_named_sums_are_divided_by_the_same_count(make_engine, make_stream):
    means = [
        make_engine(stream=make_stream(sizes), objective=TwoSums(), dtype=torch.float64).step(1).means
        for sizes in ((4,), (1, 3))
    ]
    assert set(means[0]) == {"loss", "right"}
    assert means[0] == pytest.approx(means[1], rel=1e-12)
    assert 0 <= means[0]["right"] <= 1


def test_the_cut_is_torchs_on_the_mean_gradient(make_engine, make_stream):
    free = make_engine(stream=make_stream((1, 3)), optimizer=STILL)
    norm = free.step(0).grad_norm
    expected = torch.nn.utils.get_total_norm(list(gradients_of(free).values()))
    assert norm == pytest.approx(float(expected), rel=1e-5)
    torch.nn.utils.clip_grad_norm_(free.model.parameters(), norm / 3)

    cut = make_engine(stream=make_stream((1, 3)), optimizer=STILL, clip=norm / 3)
    assert cut.step(0).grad_norm == norm, "what is told is the norm before the cut"
    for name, gradient in gradients_of(cut).items():
        torch.testing.assert_close(gradient, free.model.get_parameter(name).grad, rtol=1e-4, atol=1e-8)

    whole, loose = (make_engine(stream=make_stream((1, 3)), clip=clip) for clip in (None, 2 * norm))
    whole.step(0)
    loose.step(0)
    for name, gradient in gradients_of(loose).items():
        assert torch.equal(gradient, whole.model.get_parameter(name).grad), "a small gradient is left alone"


class EndlessSlope(NextToken):
    """A finite loss whose gradient is not: the square root of 0."""

    def loss(self, model, batch):
        loss = super().loss(model, batch)
        return Loss(loss.total + (0.0 * next(model.parameters())).sum().sqrt(), loss.count)


@pytest.mark.parametrize("what", ["the loss", "the gradient"])
def test_divergence_is_told_before_any_weight_changes(make_engine, make_stream, what):
    stream = make_stream((1, 3), poisoned=2 if what == "the loss" else None)
    engine = make_engine(stream=stream, clip=1.0)
    engine.step(0)
    engine.step(1)
    if what == "the gradient":
        engine.objective = EndlessSlope()
    before = weights_of(engine)
    state = {name: tensor.clone() for name, tensor in engine.optimizer.tensors().items()}
    tokens = engine.tokens
    with pytest.raises(Diverged, match=f"step 2: {what} is not finite") as caught:
        engine.step(2)
    assert (caught.value.step, caught.value.what) == (2, what)
    assert caught.value.documents == [8, 9, 10, 11]
    assert all(torch.equal(tensor, before[name]) for name, tensor in weights_of(engine).items())
    assert all(torch.equal(tensor, state[name]) for name, tensor in engine.optimizer.tensors().items())
    assert engine.tokens == tokens

    stream.poisoned, engine.objective = None, NextToken()
    assert math.isfinite(engine.step(2).loss), "and the run can go on from where it was"


class SameBatch:
    """The same micro-batches at every step."""

    def __init__(self, stream, times=1):
        self.stream, self.times = stream, times

    def batches(self, step):
        for _ in range(self.times):
            yield from self.stream.batches(0)

    def documents(self, step):
        return []


def test_dropout_is_a_function_of_seed_step_and_place_alone(make_engine, make_stream):
    engine = make_engine(DROPPING, stream=SameBatch(make_stream()), optimizer=STILL)
    first = engine.step(3).loss
    torch.manual_seed(99)
    torch.rand(7)
    other = engine.step(4).loss
    assert engine.step(3).loss == first
    assert other != first
    again = make_engine(DROPPING, stream=SameBatch(make_stream()), optimizer=STILL)
    assert again.step(3).loss == first
    another_seed = make_engine(DROPPING, stream=SameBatch(make_stream()), optimizer=STILL, seed=6)
    assert another_seed.step(3).loss != first
    twice = make_engine(DROPPING, stream=SameBatch(make_stream(), times=2), optimizer=STILL)
    assert twice.step(3).loss != pytest.approx(first, rel=1e-6), "the second micro-batch has draws of its own"


def test_dropout_is_on_whatever_a_hook_did_to_the_model(make_engine, make_stream):
    engine = make_engine(DROPPING, stream=SameBatch(make_stream()), optimizer=STILL)
    first = engine.step(0).loss
    engine.model.eval()
    assert engine.step(0).loss == first


def test_bf16_keeps_the_weights_in_fp32_and_stays_near(make_engine, make_stream):
    exact, rounded = (make_engine(stream=make_stream((2,)), precision=name) for name in ("fp32", "bf16"))
    one, other = exact.step(0), rounded.step(0)
    assert one.loss == pytest.approx(other.loss, rel=1e-2)
    assert one.loss != other.loss
    assert {parameter.dtype for parameter in rounded.model.parameters()} == {torch.float32}


def test_the_schedule_may_be_replaced_between_steps(make_engine):
    engine = make_engine()
    engine.step(0)
    engine.schedule = replace(engine.schedule, steps=4)
    assert engine.step(3).lr == 1e-2 * Schedule("linear", warmup=2, steps=4).factor(3)


def test_it_learns(make_engine, make_stream):
    """Forty steps on the same four rows bring the loss to a tenth."""
    schedule = Schedule("constant", warmup=0, steps=40)
    engine = make_engine(stream=SameBatch(make_stream()), schedule=schedule, clip=1.0)
    losses = [engine.step(index).loss for index in range(40)]
    assert losses[0] == pytest.approx(math.log(13), rel=0.02)
    assert losses[-1] < 0.1 * losses[0]
