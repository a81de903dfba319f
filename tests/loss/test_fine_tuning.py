"""L3 = L2 + lambda L1, divided by the count exactly as the paper's code means it, however a step is cut."""

import itertools
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ensue.loss.fine_tuning import FineTuning
from ensue.model.config import GPTConfig
from ensue.model.gpt import GPT
from ensue.model.patterns import TwoWay
from ensue.model.presets import gpt, gpt2
from ensue.model.task_head import TaskModel
from ensue.model.weights import save_model
from ensue.tokens.task_batch import task_batch


@pytest.fixture(scope="module", autouse=True)
def _one_thread():
    torch.set_num_threads(1)


SIZE = {"layers": 2, "width": 8, "heads": 2, "context": 14, "vocab": 20}
TWO_WAY = GPTConfig(**SIZE, patterns=(TwoWay(),))


def examples(count, *, seed=0, rows=(1,), outputs=3, length=None):
    """Random rows of tokens and answers; as many answers as rows where there is one output."""
    draw = np.random.default_rng(seed)
    made = []
    for number in range(count):
        size = rows[number % len(rows)]
        lengths = [length or int(draw.integers(2, 13)) for _ in range(size)]
        kinds = size if outputs == 1 else outputs
        shares = (
            draw.dirichlet(np.ones(kinds)) if number % 3 == 2 and outputs > 1 else np.eye(kinds)[draw.integers(kinds)]
        )
        made.append(([draw.integers(1, 20, each) for each in lengths], shares.astype(np.float32)))
    return made


def batch_of(made, *, looks_ahead=False):
    return task_batch([rows for rows, _ in made], [answer for _, answer in made], looks_ahead=looks_ahead)


def exact_model(config, outputs, *, dropout=0.0, seed=3):
    """In fp64, and with weights large enough that answers differ."""
    model = TaskModel.build(GPT.build(config, seed), outputs=outputs, dropout=dropout, seed=seed).double().eval()
    with torch.no_grad():
        for index, parameter in enumerate(model.parameters()):
            noise = torch.randn(parameter.shape, generator=torch.Generator().manual_seed(index), dtype=torch.float64)
            parameter.add_(noise, alpha=0.2)
    return model


def by_hand(model, made, auxiliary):
    """The paper's code, one row at a time, without padding: mean over targets, then rows, then examples."""
    task, text = [], []
    for rows, answer in made:
        states, nats = [], []
        for row in rows:
            tokens = torch.tensor(row)[None]
            hidden = model.gpt.hidden(tokens)
            states.append(hidden[0, -1])
            logs = model.gpt.logits(hidden)[0, :-1].log_softmax(-1)
            nats.append(-logs.gather(1, tokens[0, 1:, None]).mean())
        if model.head.out_features == 1:
            scores = torch.stack([model.head(state)[0] for state in states])
        else:
            scores = model.head(torch.stack(states).sum(0))
        task.append(-(torch.tensor(answer).double() * scores.log_softmax(-1)).sum())
        text.append(torch.stack(nats).mean())
    return float(torch.stack(task).mean().detach()), auxiliary * float(torch.stack(text).mean().detach())


@pytest.mark.parametrize(("outputs", "rows"), [(3, (1,)), (3, (2,)), (1, (2,)), (1, (2, 4, 3))])
@pytest.mark.parametrize("config", [gpt(**SIZE), gpt2(**SIZE)])
def test_it_is_the_papers_loss(config, outputs, rows):
    made, model = examples(7, rows=rows, outputs=outputs), exact_model(config, outputs)
    batch = batch_of(made)
    loss = FineTuning(auxiliary=0.5).loss(model, batch)
    task, text = by_hand(model, made, 0.5)
    assert loss.count == FineTuning().count(batch) == 7
    assert float(loss.total.detach()) / 7 == pytest.approx(task + text, rel=1e-6)
    assert float(loss.named["task"].detach()) / 7 == pytest.approx(task, rel=1e-6)
    assert 0.5 * float(loss.named["language_model"].detach()) / 7 == pytest.approx(text, rel=1e-6)


@settings(max_examples=25)
@given(
    cuts=st.sets(st.integers(1, 8)),
    shape=st.sampled_from([(3, (1,)), (2, (2,)), (1, (2,)), (1, (2, 3))]),
    seed=st.integers(0, 99),
    auxiliary=st.sampled_from([0.0, 0.5]),
)
def test_the_sum_does_not_depend_on_the_micro_batches(cuts, shape, seed, auxiliary):
    outputs, rows = shape
    made, model = examples(9, seed=seed, rows=rows, outputs=outputs), exact_model(gpt(**SIZE), outputs)
    objective = FineTuning(auxiliary=auxiliary)
    whole = objective.loss(model, batch_of(made))
    parts = [objective.loss(model, batch_of(made[low:high])) for low, high in itertools.pairwise([0, *sorted(cuts), 9])]
    assert sum(part.count for part in parts) == whole.count == 9
    assert float(sum(part.total.detach() for part in parts)) == pytest.approx(float(whole.total.detach()), rel=1e-6)
    for name, value in whole.named.items():
        assert float(sum(part.named[name].detach() for part in parts)) == pytest.approx(float(value.detach()), rel=1e-6)


def test_without_the_auxiliary_loss_no_logits_are_made(monkeypatch):
    model, batch = exact_model(gpt(**SIZE), 3), batch_of(examples(4))
    both = FineTuning(auxiliary=0.5).loss(model, batch)
    monkeypatch.setattr("ensue.loss.fine_tuning.linear_cross_entropy", None)
    alone = FineTuning(auxiliary=0).loss(model, batch)
    assert torch.equal(alone.total, both.named["task"])
    assert set(alone.named) == {"task", "correct"}


@pytest.mark.parametrize(("outputs", "rows"), [(3, (2,)), (1, (2, 3))])
def test_gradients_are_those_of_finite_differences(outputs, rows):
    batch, objective = batch_of(examples(4, rows=rows, outputs=outputs)), FineTuning(auxiliary=0.5)
    model = exact_model(gpt(**SIZE), outputs)
    objective.loss(model, batch).total.backward()
    draw = np.random.default_rng(0)
    for name, parameter in model.named_parameters():
        gradient = parameter.grad.to_dense() if parameter.grad.is_sparse else parameter.grad
        for place in draw.integers(parameter.numel(), size=2).tolist():
            flat = parameter.data.view(-1)
            before, step = float(flat[place]), 1e-6
            ends = []
            for moved in (before + step, before - step):
                flat[place] = moved
                with torch.no_grad():
                    ends.append(float(objective.loss(model, batch).total))
            flat[place] = before
            slope = (ends[0] - ends[1]) / (2 * step)
            assert float(gradient.view(-1)[place]) == pytest.approx(slope, rel=1e-4, abs=1e-6), name


def test_padding_is_not_seen_by_a_model_that_looks_ahead():
    made, model = examples(6), exact_model(TWO_WAY, 3)
    objective = FineTuning(auxiliary=0)
    whole = objective.loss(model, batch_of(made, looks_ahead=True)).total
    alone = sum(objective.loss(model, batch_of([one], looks_ahead=True)).total for one in made)
    assert float(whole.detach()) == pytest.approx(float(alone.detach()), rel=1e-6)
    blind = objective.loss(model, batch_of(made)).total
    assert float(blind.detach()) != pytest.approx(float(alone.detach()), rel=1e-6)


def test_what_is_refused():
    with pytest.raises(ValueError, match="type --auxiliary 0"):
        FineTuning().loss(exact_model(TWO_WAY, 3), batch_of(examples(2), looks_ahead=True))
    with pytest.raises(ValueError, match="lambda"):
        FineTuning(auxiliary=-1)
    with pytest.raises(ValueError, match="has no state"):
        FineTuning().load_state_dict({"a": 1})


def test_transformers_two_heads_compute_the_same(tmp_path: Path):
    """OpenAIGPTDoubleHeadsModel is the paper's multiple choice. Its text loss is the mean over all targets, the
    paper's where rows are equally long."""
    transformers = pytest.importorskip("transformers")
    made = examples(5, rows=(2,), outputs=1, length=9)
    model = exact_model(gpt(**SIZE), 1).float()
    save_model(model.gpt, tmp_path)
    theirs = transformers.OpenAIGPTDoubleHeadsModel.from_pretrained(tmp_path).eval()
    theirs.multiple_choice_head.summary.load_state_dict(model.head.state_dict())
    batch = batch_of(made)
    tokens = batch.tokens.view(5, 2, -1)
    out = theirs(
        input_ids=tokens,
        mc_token_ids=batch.extract.view(5, 2),
        labels=tokens,
        mc_labels=batch.answer.argmax(1),
    )
    loss = FineTuning(auxiliary=0.5).loss(model, batch)
    assert float(loss.named["task"].detach()) / 5 == pytest.approx(float(out.mc_loss.detach()), rel=1e-5)
    assert float(loss.named["language_model"].detach()) / 5 == pytest.approx(float(out.loss.detach()), rel=1e-5)


def test_transformers_classifier_computes_the_same(tmp_path: Path):
    """OpenAIGPTForSequenceClassification reads the last token too; its layer has no bias."""
    transformers = pytest.importorskip("transformers")
    made = [(rows, answer) for rows, answer in examples(8) if answer.max() == 1]
    model = exact_model(gpt(**SIZE), 3).float()
    model.head.bias.data.zero_()
    save_model(model.gpt, tmp_path)
    theirs = transformers.OpenAIGPTForSequenceClassification.from_pretrained(
        tmp_path, num_labels=3, pad_token_id=0
    ).eval()
    theirs.score.weight.data.copy_(model.head.weight.data)
    batch = batch_of(made)
    out = theirs(input_ids=batch.tokens, labels=batch.answer.argmax(1))
    loss = FineTuning(auxiliary=0).loss(model, batch)
    assert float(loss.total.detach()) / len(made) == pytest.approx(float(out.loss.detach()), rel=1e-5)
    assert float(loss.named["correct"]) == float((out.logits.argmax(-1) == batch.answer.argmax(1)).sum())
