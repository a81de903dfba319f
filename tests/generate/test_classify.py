"""Answers read at the extract token are the model's own, whatever else is in the batch, and in either precision."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from ensue.generate.classify import Tuned, classify, log_probabilities
from ensue.generate.lm import LM
from ensue.model.gpt import GPT
from ensue.model.more_tokens import with_more_tokens
from ensue.model.patterns import TwoWay
from ensue.model.task_head import TaskModel
from ensue.tokens.byte_level import ByteLevelTokenizer
from ensue.tokens.examples import Example
from ensue.tokens.task_shapes import Marks, Scale, TaskShape

TEXTS = ["the fox", "the crow opened its mouth to sing in the dark wood", "狐狸", "a"]


def tuned(make_gpt, task: str, *, two_way: bool = False, **others) -> Tuned:
    base = make_gpt(vocab=332, context=64)
    if two_way:
        rebuilt = GPT.build(replace(base.config, patterns=(TwoWay(),)), 0)
        rebuilt.load_state_dict(base.state_dict())
        base = rebuilt.eval()
    gpt = with_more_tokens(base, 3, seed=0)
    shape = TaskShape(task=task, marks=Marks.behind(332), context=64, **others)  # type: ignore[arg-type]
    model = TaskModel.build(gpt, outputs=shape.outputs, dropout=0.5, seed=0)
    torch.nn.init.normal_(model.head.weight, generator=torch.Generator().manual_seed(0))
    return Tuned(model.eval(), shape)


def by_hand(given: Tuned, rows: list[list[int]]) -> np.ndarray:
    """(R, outputs) scores of rows, one at a time."""
    states = [given.model.gpt.hidden(torch.tensor([row]))[0, -1] for row in rows]
    return given.model.head(torch.stack(states)).detach().numpy()


def softmax(scores: np.ndarray) -> list[float]:
    shares = np.exp(scores - scores.max())
    return (shares / shares.sum()).tolist()


@pytest.mark.parametrize("two_way", [False, True])
def test_labels_of_texts(make_gpt, tokenizer: ByteLevelTokenizer, two_way: bool) -> None:
    given = tuned(make_gpt, "classify", labels=("x", "y", "z"), two_way=two_way)
    answers = classify(given, tokenizer, [(text, None) for text in TEXTS])
    for text, answer in zip(TEXTS, answers, strict=True):
        [scores] = by_hand(given, [[332, *tokenizer.encode(text), 334]])
        assert list(answer.probabilities.values()) == pytest.approx(softmax(scores), abs=1e-5)
        assert answer.label == "xyz"[int(scores.argmax())]


def test_choices_and_scores(make_gpt, tokenizer: ByteLevelTokenizer) -> None:
    given = tuned(make_gpt, "choice")
    answers = classify(given, tokenizer, [("the fox", TEXTS[1:]), ("the crow", TEXTS[:2])])
    for context, choices, answer in (("the fox", TEXTS[1:], answers[0]), ("the crow", TEXTS[:2], answers[1])):
        rows = [[332, *tokenizer.encode(context), 333, *tokenizer.encode(choice), 334] for choice in choices]
        scores = by_hand(given, rows)[:, 0]
        assert list(answer.probabilities) == list(range(len(choices)))
        assert list(answer.probabilities.values()) == pytest.approx(softmax(scores), abs=1e-5)
        assert answer.label == int(scores.argmax())
    given = tuned(make_gpt, "similarity", scale=Scale(1, 3))
    [answer] = classify(given, tokenizer, [("the fox", "the crow")])
    shares = list(answer.probabilities.values())
    assert answer.label == pytest.approx(shares[0] + 2 * shares[1] + 3 * shares[2])


def test_a_budget_changes_nothing_and_the_mode_is_put_back(make_gpt) -> None:
    given = tuned(make_gpt, "choice")
    draw = np.random.default_rng(0)
    examples = [
        Example(tuple(draw.integers(0, 300, size) for size in (3 + number % 7, 20)), np.zeros(2), "")
        for number in range(20)
    ]
    given.model.train()
    many, one = (log_probabilities(given.model, examples, micro_tokens=budget) for budget in (10_000, 1))
    assert given.model.training
    assert given.model.gpt.training
    assert np.allclose(np.array(many), np.array(one), atol=1e-5)


def test_bf16_weights_are_read_too(make_gpt, tokenizer: ByteLevelTokenizer) -> None:
    given = tuned(make_gpt, "classify", labels=("x", "y"))
    [exact] = classify(given, tokenizer, [("the fox", None)])
    given.model.to(torch.bfloat16)
    [rounded] = classify(given, tokenizer, [("the fox", None)])
    assert rounded.probabilities["x"] == pytest.approx(exact.probabilities["x"], abs=0.1)


def test_an_lm_with_a_head_writes_no_new_token(make_gpt, tokenizer: ByteLevelTokenizer) -> None:
    given = tuned(make_gpt, "classify", labels=("x", "y"))
    lm = LM(given.model.gpt, tokenizer, Path("nowhere"), given)
    assert lm.classify("the fox").label in ("x", "y")
    assert isinstance(lm.generate("the fox", max_new_tokens=20, temperature=2.0), str)
