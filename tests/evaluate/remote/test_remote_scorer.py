import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ensue.evaluate.local import LocalScorer
from ensue.evaluate.remote import RemoteScorer
from ensue.evaluate.remote_echo import Echo, place_in_text
from ensue.evaluate.scorer import Decoding, Prompt, Request, Scored
from ensue.generate.boundary import split_boundary
from ensue.generate.lm import LM
from ensue.generate.score import score_tokens
from ensue.tokens.byte_level import train_byte_level

REQUESTS = [
    Request("The fox said to the", " crow"),
    Request("The fox said to the ", "crow: what a fine voice"),
    Request("Once upon a time", " there was a 狐狸."),
    Request("从前有一只", "狐狸住在森林里"),
    Request("从前有一只", "乌鸦。"),
    Request("The fox said to t", "he crow"),  # a token spans the boundary
    Request("naïve caf", "é, señor"),
    Request("", "The end of the tale."),
    Request("  \n", "The end"),
    Request("The crow opened its mouth to sing. " * 9, "The fox"),  # longer than the window
]
PLAIN = [request for request in REQUESTS if request.context.strip() and len(request.context) < 100]


def close(answers: list[Scored], expected: list[Scored]) -> None:
    for answer, wanted in zip(answers, expected, strict=True):
        assert answer.token_nats == pytest.approx(wanted.token_nats, abs=1e-6)
        assert (answer.tokens, answer.greedy, answer.unscored) == (wanted.tokens, wanted.greedy, wanted.unscored)


@pytest.mark.parametrize(
    "habits",
    [
        {},
        {"zero": "refused"},
        {"zero": "ignored"},
        {"names": "ids"},
        {"beginning": True, "zero": "refused"},
        {"offsets": "none", "usage": False},
        {"usage": False, "zero": "refused", "window": False},
    ],
    ids=str,
)
def test_by_ids_a_server_scores_as_the_model_itself(
    lm: LM, serve: Callable[..., Any], connect: Callable[..., RemoteScorer], habits: dict[str, Any]
) -> None:
    server = serve(**habits)
    requests = REQUESTS[:-1] if not habits.get("beginning") else PLAIN
    answers = connect(server).loglikelihood(requests)
    if habits.get("beginning"):  # the end token is one more token of context
        expected = [_after_end(lm, request) for request in requests]
    else:
        expected = LocalScorer(lm).loglikelihood(requests)
    close(answers, expected)
    assert all(isinstance(body["prompt"], list) for body in server.habits.bodies[2:])
    assert {body["max_tokens"] for body in server.habits.bodies[2:]} == {0 if "zero" not in habits else 1}


def _after_end(lm: LM, request: Request) -> Scored:
    before, after = split_boundary(lm.tokenizer, request.context, request.continuation)
    [scores] = score_tokens(lm.model, [([lm.tokenizer.end, *before], after)])
    tokens = tuple(lm.tokenizer.token_bytes(token).decode("utf-8", "backslashreplace") for token in after)
    return Scored(tokens, scores.nats, all(scores.greedy))


def test_a_context_too_long_keeps_its_end(
    lm: LM, serve: Callable[..., Any], connect: Callable[..., RemoteScorer]
) -> None:
    [remote] = connect(serve()).loglikelihood(REQUESTS[-1:])
    [local] = LocalScorer(lm).loglikelihood(REQUESTS[-1:])
    assert remote.cut == local.cut + 1 > 1  # the last token is never an input here, and is sent there
    [refused] = connect(serve(zero="refused")).loglikelihood(REQUESTS[-1:])
    assert refused.cut == local.cut + 2
    with pytest.raises(ValueError, match=r"maximum context length is 64 tokens .*'The fox'.*contexts are cut"):
        connect(serve(), tokenizer=None).loglikelihood(REQUESTS[-1:])


def test_a_continuation_longer_than_the_window_is_scored_at_its_end(
    lm: LM, serve: Callable[..., Any], connect: Callable[..., RemoteScorer]
) -> None:
    request = Request("Once", " upon a time there was a fox" * 20)
    [answer] = connect(serve()).loglikelihood([request])
    assert len(answer.tokens) == 63
    assert answer.unscored + len(answer.tokens) == len(lm.tokenizer.encode(request.continuation))
    [longer] = LocalScorer(lm).loglikelihood([request])
    assert answer.tokens == longer.tokens[1:]


@pytest.mark.parametrize("names", ["text", "ids"])
@pytest.mark.parametrize("offsets", ["right", "drifting", "none"])
@pytest.mark.parametrize("zero", ["echoes", "refused"])
def test_by_text_the_boundary_is_where_the_continuation_begins(
    lm: LM, serve: Callable[..., Any], connect: Callable[..., RemoteScorer], offsets: str, zero: str, names: str
) -> None:
    requests = [request for request in PLAIN if not _spanned(lm, request)]
    assert len(requests) >= 4
    answers = connect(serve(offsets=offsets, zero=zero, names=names), tokenizer=None).loglikelihood(requests)
    for answer, wanted in zip(answers, LocalScorer(lm).loglikelihood(requests), strict=True):
        assert answer.token_nats == pytest.approx(wanted.token_nats, abs=1e-6)


def _spanned(lm: LM, request: Request) -> bool:
    kept = request.context.rstrip()
    before = lm.tokenizer.encode(kept)
    return lm.tokenizer.encode(request.context + request.continuation)[: len(before)] != before


def test_by_text_a_token_that_spans_the_boundary_counts_to_the_continuation(
    lm: LM, serve: Callable[..., Any], connect: Callable[..., RemoteScorer]
) -> None:
    request = Request("The fox said to t", "he crow")
    assert _spanned(lm, request)
    [answer] = connect(serve(), tokenizer=None).loglikelihood([request])
    assert answer.tokens[0] == " the"
    [wanted] = LocalScorer(lm).loglikelihood([Request("The fox said to", " the crow")])
    assert answer.token_nats == pytest.approx(wanted.token_nats, abs=1e-6)


def test_by_text_a_server_that_puts_a_token_first_can_score_what_nothing_stands_before(
    lm: LM, serve: Callable[..., Any], connect: Callable[..., RemoteScorer]
) -> None:
    request = Request("", "The end of the tale.")
    [answer] = connect(serve(beginning=True), tokenizer=None).loglikelihood([request])
    close([answer], LocalScorer(lm).loglikelihood([request]))
    with pytest.raises(ValueError, match=r"Nothing stands before it: give the tokenizer's folder"):
        connect(serve(), tokenizer=None).loglikelihood([request])


@pytest.mark.parametrize("stride", [None, 20, 1])
def test_rolling_scores_each_token_once(
    lm: LM, serve: Callable[..., Any], connect: Callable[..., RemoteScorer], stride: int | None
) -> None:
    texts = ["The fox said to the crow: 从前有一只狐狸.", "The end."]
    if stride is None:
        close(connect(serve()).rolling(texts), LocalScorer(lm).rolling(texts))
    long = " ".join([*texts * 4])
    counted: list[int] = []
    [answer] = connect(serve()).rolling([long], stride=stride, on_done=counted.append)
    assert counted == [1]
    assert "".join(answer.tokens[:9]) == long[: len("".join(answer.tokens[:9]))]
    assert len(answer.tokens) == len(lm.tokenizer.encode(long)) > 64
    whole = [lm.tokenizer.end, *lm.tokenizer.encode(long)]
    room, step = 63, stride or 63
    starts = [1, *range(1 + room, len(whole), step)]
    wanted: list[float] = []
    for start, stop in itertools.pairwise([*starts, len(whole)]):
        [piece] = score_tokens(lm.model, [(whole[max(0, stop - 64) : start], whole[start:stop])])
        wanted.extend(piece.nats)
    assert answer.token_nats == pytest.approx(wanted, abs=1e-6)


def test_rolling_needs_the_tokenizer(serve: Callable[..., Any], connect: Callable[..., RemoteScorer]) -> None:
    with pytest.raises(ValueError, match="give the folder of the model's tokenizer"):
        connect(serve(), tokenizer=None).rolling(["The end."])
    with pytest.raises(ValueError, match="stride of 64 tokens is not within 1 to 63"):
        connect(serve()).rolling(["The end. " * 20], stride=64)
    assert connect(serve()).rolling([""]) == [Scored((), (), True)]


@pytest.mark.parametrize("by_ids", [True, False])
def test_generation_is_the_model_s_own(
    lm: LM, serve: Callable[..., Any], connect: Callable[..., RemoteScorer], by_ids: bool
) -> None:
    decoding = Decoding(most=20, stop=("\n", "fox", "🦊", "zz", "e"))
    prompts = [Prompt(text, decoding) for text in ("The fox", "从前有一只", "Once upon")]
    server = serve()
    scorer = connect(server, tokenizer=lm.path if by_ids else None)
    assert scorer.generate(prompts) == LocalScorer(lm).generate(prompts)
    assert server.habits.bodies[0]["stop"] == ["\n", "fox", "🦊", "zz"]
    assert server.habits.bodies[0]["temperature"] == 0


def test_a_prompt_too_long_for_generation_keeps_its_end(
    lm: LM, serve: Callable[..., Any], connect: Callable[..., RemoteScorer]
) -> None:
    for most in (8, 500):
        prompts = [Prompt("The fox said to the crow. " * 20, Decoding(most=most, stop=()))]
        assert connect(serve()).generate(prompts) == LocalScorer(lm).generate(prompts)


def test_sampling_sends_the_likeliest_and_beam_search_is_refused(
    serve: Callable[..., Any], connect: Callable[..., RemoteScorer]
) -> None:
    server = serve()
    scorer = connect(server)
    drawn = scorer.generate([Prompt("The fox", Decoding("sample", most=5), seed=2**40 + 3)])
    assert drawn != scorer.generate([Prompt("The fox", Decoding(most=5))])
    body = server.habits.bodies[0]
    assert (body["top_k"], body["temperature"], body["seed"]) == (2, 1, 3)
    assert "top_p" not in body
    with pytest.raises(ValueError, match=r"has no beam search\. Take a task that decodes greedily, or evaluate"):
        scorer.generate([Prompt("The fox", Decoding("beam"))])


def test_several_are_in_flight_and_answers_keep_their_order(
    lm: LM, serve: Callable[..., Any], connect: Callable[..., RemoteScorer]
) -> None:
    server = serve()
    requests = [Request("The fox said", f" {word}") for word in ("to", "crow", "what", "a", "fine", "voice", "you")] * 6
    counted: list[int] = []
    scorer = connect(server, in_flight=5)
    close(scorer.loglikelihood(requests, counted.append), LocalScorer(lm).loglikelihood(requests))
    assert sum(counted) == len(requests)
    assert 2 <= server.habits.at_once <= 5 == scorer.at_once


def test_what_a_server_is_known_by(
    lm: LM, serve: Callable[..., Any], connect: Callable[..., RemoteScorer], tmp_path: Path
) -> None:
    server = serve()
    scorer = connect(server, more={"return_tokens_as_token_ids": False})
    place, fingerprint = f"{server.address}/tiny", lm.tokenizer.fingerprint
    assert scorer.identity() == {"path": place, "name": "tiny", "tokenizer": fingerprint}
    assert (scorer.window(), scorer.count("The fox")) == (64, len(lm.tokenizer.encode("The fox")))
    scorer.generate([Prompt("The fox", Decoding(most=1))])
    assert server.habits.bodies[0]["return_tokens_as_token_ids"] is False
    unknown = connect(serve(window=False), tokenizer=None)
    assert (unknown.window(), unknown.count("The fox")) == (None, None)
    assert unknown.identity()["tokenizer"] == "the server's own"
    assert connect(serve(window=False), window=32).window() == 32


def test_another_model_s_tokenizer_is_refused(
    serve: Callable[..., Any], connect: Callable[..., RemoteScorer], tmp_path: Path
) -> None:
    train_byte_level(
        iter(["entirely different words in another order and of another language"] * 3), vocab_size=290
    ).save(tmp_path)
    said = r"it is not this model's\. Give the folder of the model's own tokenizer"
    with pytest.raises(ValueError, match=said):
        connect(serve(), tokenizer=tmp_path).loglikelihood([Request("different words in", " another language")])


@settings(max_examples=200)
@given(pieces=st.lists(st.text("ab 从前é", min_size=1, max_size=3), min_size=1, max_size=8), data=st.data())
def test_the_place_of_a_character_is_the_first_token_that_holds_it_or_what_follows(
    pieces: list[str], data: st.DataObject
) -> None:
    text = "".join(pieces)
    character = data.draw(st.integers(0, len(text) - 1))
    lead = data.draw(st.booleans())
    tokens = (["<s>"] if lead else []) + pieces
    offsets = [0, *itertools.accumulate(map(len, tokens))][:-1]
    numbers = (None, *[-1.0] * (len(tokens) - 1))
    place = place_in_text(Echo(tuple(tokens), numbers, numbers, tuple(offsets)), text, character)
    ends = list(itertools.accumulate(map(len, pieces)))
    assert place == lead + next(i for i, end in enumerate(ends) if end > character)
