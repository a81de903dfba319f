"""The adapter beside the harness's own model for Hugging Face folders, over the same files."""

import importlib
import sys
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("lm_eval")

from lm_eval.api.instance import Instance
from lm_eval.api.registry import get_model
from lm_eval.models.huggingface import HFLM

from ensue.evaluate.harness import EnsueModel, main
from ensue.evaluate.harness_writing import written
from ensue.evaluate.local import LocalScorer
from ensue.evaluate.scorer import Request
from ensue.generate.lm import LM

PAIRS = [
    ("The fox said to the", " crow"),
    ("The fox said to the ", "crow: what a fine voice"),
    ("从前有一只", "狐狸住在森林里"),
    ("The fox said to t", "he crow"),  # a token spans the boundary
    ("", "The end of the tale."),
    ("The crow opened its mouth to sing. " * 9, " The fox"),  # longer than the window
    ("naïve caf", "é"),
]
TEXTS = ["The end.", "The fox said to the crow: 从前有一只狐狸. ", "Once upon a time there was a fox. " * 20, "a"]


def asked(kind: str, arguments: list[tuple[Any, ...]]) -> list[Instance]:
    return [Instance(kind, doc={}, arguments=each, idx=number) for number, each in enumerate(arguments)]


@pytest.fixture(scope="module")
def adapter(small_model: Path) -> EnsueModel:
    return EnsueModel(str(small_model), device="cpu")


@pytest.fixture(scope="module")
def judge(small_model: Path) -> HFLM:
    return HFLM(pretrained=str(small_model), device="cpu", batch_size=1)


def test_log_likelihoods_are_those_of_the_harness_s_own_model(adapter: EnsueModel, judge: HFLM) -> None:
    ours = adapter.loglikelihood(asked("loglikelihood", PAIRS), disable_tqdm=True)
    theirs = judge.loglikelihood(asked("loglikelihood", PAIRS), disable_tqdm=True)
    assert [nats for nats, _ in ours] == pytest.approx([nats for nats, _ in theirs], abs=1e-4)
    assert [greedy for _, greedy in ours] == [greedy for _, greedy in theirs]


def test_where_a_token_spans_the_boundary_ensue_parts_the_two_by_its_own_rule(
    adapter: EnsueModel, small_lm: LM
) -> None:
    ours = LocalScorer(small_lm).loglikelihood([Request(*pair) for pair in PAIRS])
    harness = adapter.loglikelihood(asked("loglikelihood", PAIRS), disable_tqdm=True)
    differing = [
        pair for pair, scored, (nats, _) in zip(PAIRS, ours, harness, strict=True) if abs(scored.nats - nats) > 1e-4
    ]
    assert ("The fox said to t", "he crow") in differing
    encode = small_lm.tokenizer.encode
    for context, continuation in differing:
        assert encode(context + continuation)[: len(encode(context))] != encode(context)


def test_where_the_harness_s_rule_leaves_nothing_to_score_ensue_s_is_taken(adapter: EnsueModel, small_lm: LM) -> None:
    pair = ("从前有一只狐", "狸")
    assert len(small_lm.tokenizer.encode("".join(pair))) <= len(small_lm.tokenizer.encode(pair[0]))
    [(nats, _)] = adapter.loglikelihood(asked("loglikelihood", [pair]), disable_tqdm=True)
    assert nats == pytest.approx(LocalScorer(small_lm).loglikelihood([Request(*pair)])[0].nats, abs=1e-5)


def test_a_context_of_white_space_alone_is_the_end_token(adapter: EnsueModel) -> None:
    [blank, none] = adapter.loglikelihood(asked("loglikelihood", [(" ", "The end"), ("", " The end")]), True)
    assert blank == pytest.approx(none, abs=1e-5)


def test_rolling_likelihoods_are_those_of_the_harness_s_own_model(adapter: EnsueModel, judge: HFLM) -> None:
    requests = [(text,) for text in TEXTS]
    ours = adapter.loglikelihood_rolling(asked("loglikelihood_rolling", requests), disable_tqdm=True)
    assert ours == pytest.approx(
        judge.loglikelihood_rolling(asked("loglikelihood_rolling", requests), disable_tqdm=True), abs=1e-3
    )


def test_rolling_likelihoods_are_ensue_s_own(adapter: EnsueModel, small_lm: LM) -> None:
    ours = adapter.loglikelihood_rolling(asked("loglikelihood_rolling", [(text,) for text in TEXTS]), True)
    assert ours == pytest.approx([scored.nats for scored in LocalScorer(small_lm).rolling(TEXTS)], abs=1e-3)
    assert adapter.loglikelihood_rolling(asked("loglikelihood_rolling", [("",)]), True) == [0.0]


def test_what_is_written_is_what_the_harness_s_own_model_writes(adapter: EnsueModel, judge: HFLM) -> None:
    settings: list[dict[str, Any]] = [
        {"until": ["\n"], "max_gen_toks": 20},
        {"until": ["fox", "e", "狐"], "max_gen_toks": 30, "do_sample": False, "temperature": 0.0},
        {"until": "zzz", "max_gen_toks": 40},
    ]
    prompts = ["The fox", "从前有一只", "Once upon a time " * 12]
    requests = [(prompt, setting) for setting in settings for prompt in prompts]
    ours = adapter.generate_until(asked("generate_until", requests), disable_tqdm=True)
    assert ours == judge.generate_until(asked("generate_until", requests), disable_tqdm=True)
    assert any(ours)


def test_drawn_texts_differ_for_a_prompt_that_is_repeated(small_lm: LM) -> None:
    settings = {"do_sample": True, "temperature": 1.5, "top_k": 50, "top_p": 0.9, "max_gen_toks": 8}
    first = written(small_lm, ["The fox", "The fox", "The crow"], settings, most=5)
    assert first[0] != first[1]
    assert first == written(small_lm, ["The fox", "The fox", "The crow"], settings, most=5)
    assert written(small_lm, ["The fox"], {"temperature": 1.5}, most=8) != written(small_lm, ["The fox"], {}, most=8)
    assert written(small_lm, ["The fox"], {"num_beams": 3}, most=8)[0]
    assert written(small_lm, ["The fox"], {"repetition_penalty": 5.0}, most=30) != written(
        small_lm, ["The fox"], {}, most=30
    )


def test_settings_and_texts_that_cannot_be_served(adapter: EnsueModel) -> None:
    with pytest.raises(ValueError, match=r"does not know the generation setting min_p; it knows do_sample, "):
        adapter.generate_until(asked("generate_until", [("The fox", {"min_p": 0.1})]), disable_tqdm=True)
    with pytest.raises(
        ValueError, match=r"pair 1: the continuation has \d+ tokens, more than this model's context of 96"
    ):
        adapter.loglikelihood(asked("loglikelihood", [PAIRS[0], ("a", " fox" * 200)]), disable_tqdm=True)


def test_the_harness_knows_the_model_by_name(adapter: EnsueModel, small_model: Path) -> None:
    assert get_model("ensue") is EnsueModel
    made = EnsueModel.create_from_arg_string(f"path={small_model},device=cpu", {"batch_size": 1, "device": None})
    assert (made.max_length, made.eot_token_id) == (96, adapter.lm.tokenizer.end)
    assert made.tokenizer_name.startswith("ensue-")
    assert made.get_model_info()["model_num_parameters"] > 10_000


def test_its_command_line_is_the_harness_s_own(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["harness", "run", "--help"])
    with pytest.raises(SystemExit):
        main()
    assert "--model_args" in capsys.readouterr().out


def test_without_the_harness_it_is_said_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "lm_eval.api.model", None)
    monkeypatch.delitem(sys.modules, "ensue.evaluate.harness")
    with pytest.raises(ValueError, match=r"pip install 'ensue\[harness\]'"):
        importlib.import_module("ensue.evaluate.harness")
