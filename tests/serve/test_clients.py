"""Clients that were written for other servers: lm-evaluation-harness, and Ensue's own scorer of remote models."""

import os

import pytest

from ensue.evaluate.local import LocalScorer
from ensue.evaluate.remote import RemoteScorer
from ensue.evaluate.scorer import Decoding, Prompt, Request
from ensue.generate.lm import LM

REQUESTS = [
    Request("The fox said to the", " crow"),
    Request("The fox said to the", " wood and the wood"),
    Request("", "从前有一只狐狸"),
    Request("naïve ", "café 🦊"),
    Request("dark and deep " * 12, "down"),
]


@pytest.mark.parametrize("by_ids", [True, False])
def test_our_own_scorer_gets_what_a_local_one_gets(server, lm: LM, by_ids: bool) -> None:
    remote = RemoteScorer(f"{server.address}/v1", "fox", tokenizer=lm.path if by_ids else None)
    local = LocalScorer(lm)
    assert remote.window() == lm.config.context
    requests = REQUESTS if by_ids else [request for request in REQUESTS[:4] if request.context]
    for found, expected in zip(remote.loglikelihood(requests), local.loglikelihood(requests), strict=True):
        assert found.token_nats == pytest.approx(expected.token_nats, abs=1e-4)
        assert found.greedy == expected.greedy
    prompts = [Prompt("The fox said", Decoding(most=12)), Prompt("从前", Decoding(most=9, stop=("e",)))]
    assert remote.generate(prompts) == local.generate(prompts)
    remote.close()


def test_the_harness_gets_what_it_gets_in_process(server, lm: LM, monkeypatch) -> None:
    """Its tokenizer is the server's; the same requests in process are the oracle."""
    pytest.importorskip("lm_eval")
    pytest.importorskip("tenacity")
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setitem(os.environ, "HF_HUB_OFFLINE", "1")
    from lm_eval.api.instance import Instance
    from lm_eval.models.openai_completions import LocalCompletionsAPI

    remote = LocalCompletionsAPI(
        base_url=f"{server.address}/v1/completions",
        model="fox",
        max_length=lm.config.context,
        batch_size=3,
        tokenized_requests=True,
        num_concurrent=2,
    )
    assert remote.tokenizer_backend == "remote"
    pairs = [(request.context, request.continuation) for request in REQUESTS]
    asked = [Instance("loglikelihood", {}, pair, number) for number, pair in enumerate(pairs)]
    for (nats, greedy), expected in zip(
        remote.loglikelihood(asked), LocalScorer(lm).loglikelihood(REQUESTS), strict=True
    ):
        assert nats == pytest.approx(sum(expected.token_nats), abs=1e-4)
        assert greedy == expected.greedy
    settings = {"until": ["."], "max_gen_toks": 10, "temperature": 0}
    written = remote.generate_until([Instance("generate_until", {}, ("The fox said", settings), 0)])
    assert written == [lm.generate("The fox said", max_new_tokens=10, stop=["."])]
