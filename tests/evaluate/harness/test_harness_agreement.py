"""Ensue's own numbers beside the harness's, on the same local files; `benchmarks.harness_agreement` compares them."""

import importlib
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("lm_eval")

REPOSITORY = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def results(shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    """Every case on a few items."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(REPOSITORY))
        patch.setenv("HF_DATASETS_OFFLINE", "1")
        patch.setenv("HF_HUB_OFFLINE", "1")
        benchmark = importlib.import_module("benchmarks.harness_agreement")
        scratch = tmp_path_factory.mktemp("agreement")
        texts = ["Which of these is a word? The fox said to the crow: what a fine voice you have!"] * 3
        model = benchmark.build_model(scratch / "model", texts, context=1024, vocab=300, width=16)
        cases = [case for case in benchmark.CASES if case.task.name not in ("wikitext2", "hellaswag", "sst2")]
        found = benchmark.agreement(shared_data / "tasks", model, scratch, cases=cases, limit=3, other=False)
    return {result["task"]: result for result in found}


def test_what_is_the_same_rule_gives_the_same_number_to_the_last_digit(results: dict[str, dict[str, Any]]) -> None:
    same = 0
    for result in results.values():
        for number in result["numbers"]:
            if number["reason"] or result["text_reason"]:
                continue
            theirs, ours = number["values"]
            assert ours == pytest.approx(theirs, rel=1e-9, abs=0), (result["task"], number)
            assert number["items_alike"] == result["items"]
            same += 1
    assert same >= 15


def test_where_texts_are_the_same_each_log_probability_is(results: dict[str, dict[str, Any]]) -> None:
    for result in results.values():
        if result["same_text"]:
            assert result["largest_difference"] <= 1e-6
        if not result["text_reason"]:
            assert result["same_text"] == result["items"] > 0


def test_what_differs_has_its_reason(results: dict[str, dict[str, Any]]) -> None:
    assert any(number["reason"] for number in results["arc_easy"]["numbers"])
    alone = results["arc_easy_gpt3"]["numbers"][-1]
    assert (alone["harness"], alone["ensue"]) == ("acc_mutual_info", "accuracy_unconditional")
    assert "the end token alone" in alone["reason"]
