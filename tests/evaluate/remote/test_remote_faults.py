import email.utils
import logging
import re
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from ensue.evaluate.local import LocalScorer
from ensue.evaluate.remote import RemoteScorer
from ensue.evaluate.remote_server import Patience, Server, Unreachable
from ensue.evaluate.scorer import Decoding, Prompt, Request, Unscorable
from ensue.generate.lm import LM

REQUEST = Request("The fox said to the", " crow")
KEY = "sk-very-secret-1234"

Serve = Callable[..., Any]
Connect = Callable[..., RemoteScorer]


def patience(fault: str) -> Patience:
    """Little with a server that never answers; with others, as much as a busy machine may ask for."""
    return Patience(answer=1 if fault == "slow" else 60, tries=4, pause=0.02, longest=1)


@pytest.mark.parametrize("fault", ["slow", "closes", "half", "garbage", "429", "500", "503", "429 after 0"])
def test_what_may_pass_is_tried_again(lm: LM, serve: Serve, connect: Connect, fault: str) -> None:
    server = serve(faults=["", fault, fault])  # the first answer is to the probe
    [answer] = connect(server, patience=patience(fault)).loglikelihood([REQUEST])
    assert answer.nats == pytest.approx(LocalScorer(lm).loglikelihood([REQUEST])[0].nats, abs=1e-6)
    assert len(server.habits.bodies) == 4


class Pauses(threading.Event):
    """Writes down how long is waited, and does not."""

    def __init__(self) -> None:
        super().__init__()
        self.seconds: list[float] = []

    def wait(self, timeout: float | None = None) -> bool:
        assert timeout is not None
        self.seconds.append(timeout)
        return False


@pytest.mark.parametrize(
    ("faults", "seconds"),
    [
        (["500"] * 9, [1, 2, 4, 8, 10]),
        (["429 after 3", "429 after 0.5", "503", "garbage", "500"], [3, 2, 4, 8, 10]),
        (["429 after 9999"], [10]),
        (["429 after soon", "429 after -3"], [1, 2]),
        ([f"429 after {email.utils.formatdate(time.time() - 100)}"], [1]),
        ([f"429 after {email.utils.formatdate(time.time() + 10**6)}"], [10]),
    ],
)
def test_pauses_double_or_are_as_long_as_the_server_asks(
    lm: LM, serve: Serve, faults: list[str], seconds: list[float]
) -> None:
    server = serve(faults=faults)
    asking, pauses = Server(server.address, patience=Patience(tries=6, longest=10)), Pauses()
    body = {"model": "tiny", "prompt": [1, 2], "max_tokens": 1}
    if len(faults) > 5:
        with pytest.raises(Unreachable):
            asking.ask("/completions", body, give_up=pauses)
    else:
        assert asking.ask("/completions", body, give_up=pauses)["choices"]
    asking.close()
    assert pauses.seconds == seconds


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        ("slow", "ReadTimeout: no answer within 1 s"),
        ("closes", "the connection failed"),
        ("half", "the connection failed"),
        ("garbage", re.escape("what it answered is no JSON object: '<html>It works!</html>'")),
        ("503", r"HTTP 503: not now, Bearer \(the key\)"),
    ],
)
def test_a_server_that_dies_ends_it_with_what_to_do(serve: Serve, connect: Connect, fault: str, said: str) -> None:
    server = serve(faults=[""] * 3 + [fault] * 100)
    scorer = connect(server, in_flight=1, patience=patience(fault))
    counted: list[int] = []
    with pytest.raises(Unreachable, match=rf"asked 4 times .*{said}.*give the same command to go on") as caught:
        scorer.loglikelihood([REQUEST] * 10, counted.append)
    assert counted == [1, 1]
    assert len(server.habits.bodies) == 3 + 4
    assert KEY not in str(caught.value)
    server.habits.faults.clear()  # it is up again
    assert len(scorer.loglikelihood([REQUEST] * 8)) == 8
    assert len(server.habits.bodies) == 3 + 4 + 8, "it is not probed again"


def test_no_server_at_all(connect: Connect, serve: Serve) -> None:
    server = serve()
    server.httpd.server_close()
    server.httpd.shutdown()
    with pytest.raises(Unreachable, match="ConnectError"):
        connect(server).loglikelihood([REQUEST])


def test_the_first_that_fails_ends_the_others_at_once(serve: Serve, connect: Connect) -> None:
    server = serve(faults=["", "400", *["429 after 60"] * 7])
    started = time.monotonic()
    with pytest.raises(Unscorable, match="HTTP 400"):
        connect(server, patience=Patience(answer=60, tries=3, pause=60)).loglikelihood([REQUEST] * 30)
    assert time.monotonic() - started < 50, "none waited for its pause of 60 s"
    assert len(server.habits.bodies) <= 10


def test_giving_up_ends_a_pause(serve: Serve) -> None:
    server = serve(faults=["500"])
    give_up = threading.Event()
    asking = Server(server.address, patience=Patience(tries=9, pause=60))
    threading.Timer(0.1, give_up.set).start()
    with pytest.raises(Unreachable):
        asking.ask("/completions", {}, give_up=give_up)
    asking.close()
    assert len(server.habits.bodies) == 1


@pytest.mark.parametrize(
    ("status", "said"),
    [
        (400, r"HTTP 400: not now, Bearer \(the key\) Token ids .* It was asked for ' crow'"),
        (401, "environment variable OPENAI_API_KEY, which was sent"),
        (403, "environment variable OPENAI_API_KEY"),
        (404, "Check the model's name, and the address: it usually ends in /v1"),
        (307, "It sends elsewhere"),
    ],
)
def test_what_is_refused_is_not_tried_again(serve: Serve, connect: Connect, status: int, said: str) -> None:
    server = serve(faults=["", str(status)])
    with pytest.raises(ValueError, match=said) as caught:
        connect(server).loglikelihood([REQUEST])
    assert not isinstance(caught.value, Unreachable)
    assert len(server.habits.bodies) == 2
    assert KEY not in str(caught.value)


def test_an_unset_key_is_not_sent(serve: Serve, connect: Connect, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OURS", raising=False)
    server = serve(faults=["401"])
    with pytest.raises(ValueError, match="environment variable OURS, which is empty"):
        connect(server, key_variable="OURS").loglikelihood([REQUEST])
    monkeypatch.setenv("OURS", "sk-ours")
    connect(server, key_variable="OURS").loglikelihood([REQUEST])
    assert server.habits.keys[0] is None
    assert set(server.habits.keys[1:]) == {"Bearer sk-ours"}


def test_the_key_is_in_no_log_and_no_repr(serve: Serve, connect: Connect, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    server = serve(faults=["", "500", "garbage"])
    scorer = connect(server)
    scorer.loglikelihood([REQUEST])
    assert server.habits.keys[0] == f"Bearer {KEY}"
    assert caplog.records
    shown = caplog.text + repr(scorer) + repr(scorer.model) + repr(scorer.model.server) + str(scorer.identity())
    assert KEY not in shown


@pytest.mark.parametrize(
    ("habits", "said"),
    [
        ({"logprobs": "none"}, r"returned no log-probabilities: its choice holds .*logprobs None\. Evaluating needs"),
        ({"logprobs": "chat"}, "returned no log-probabilities: .*logprobs with content"),
        ({"echo": False, "zero": "refused"}, "returned 1 log-probabilities for a prompt of .* ignore `echo`"),
        ({"top": False}, "no top_logprobs, so that it is not known which token is the likeliest"),
    ],
)
def test_a_server_without_log_probabilities_is_named(
    serve: Serve, connect: Connect, habits: dict[str, Any], said: str
) -> None:
    with pytest.raises(ValueError, match=said):
        connect(serve(**habits)).loglikelihood([Request("The fox said to the", " crow: what a fine voice")])


def test_a_server_that_cannot_echo_says_so_itself(serve: Serve, connect: Connect) -> None:
    with pytest.raises(
        ValueError, match=r"HTTP 400: not now.*log-probabilities of a prompt \(`echo` with `logprobs`\)"
    ):
        connect(serve(faults=["400", "400"])).loglikelihood([REQUEST])


def test_what_cannot_be_scored_is_named_by_its_place(serve: Serve, connect: Connect) -> None:
    with pytest.raises(Unscorable, match="the continuation is empty") as caught:
        connect(serve(), in_flight=1).loglikelihood([REQUEST, REQUEST, Request("The fox", ""), REQUEST])
    assert caught.value.place == 2


def test_a_server_that_fails_at_no_tokens_is_asked_for_one(lm: LM, serve: Serve, connect: Connect) -> None:
    server = serve(faults=["500", "500"])
    [answer] = connect(server).loglikelihood([REQUEST])
    assert answer.nats == pytest.approx(LocalScorer(lm).loglikelihood([REQUEST])[0].nats, abs=1e-6)
    assert [body["max_tokens"] for body in server.habits.bodies] == [0, 0, 1, 1]


def test_a_server_that_takes_no_ids_is_named(serve: Serve, connect: Connect) -> None:
    with pytest.raises(ValueError, match="Token ids were sent; where a server takes text alone, leave out"):
        connect(serve(faults=["400"])).generate([Prompt("The fox", Decoding())])
    with pytest.raises(ValueError, match=r"^(?!.*Token ids)"):
        connect(serve(faults=["400"]), tokenizer=None).generate([Prompt("The fox", Decoding())])


def test_a_log_probability_that_is_no_number_is_named(
    lm: LM, serve: Serve, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(lm.model.final_norm.weight, "data", lm.model.final_norm.weight.data * float("nan"))
        with pytest.raises(ValueError, match=r"is nan, no number.* It was asked for ' crow'"):
            connect(serve()).loglikelihood([REQUEST])


@pytest.mark.parametrize(
    "answer",
    [{}, {"choices": []}, {"choices": [{"text": 3}]}, {"error": {"message": "asleep"}}, {"choices": "none"}],
    ids=str,
)
def test_answers_of_another_form_are_named(serve: Serve, connect: Connect, answer: Any) -> None:
    scorer = connect(serve())
    scorer.model.server.ask = lambda *_, **__: answer  # type: ignore[method-assign]
    with pytest.raises(ValueError, match=r"has no choices|has no text"):
        scorer.generate([Prompt("The fox", Decoding())])


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("localhost:8000", "no server's address; type something like http://localhost:8000/v1"),
        ("ftp://host/v1", "no server's address"),
        ("http://me:secret@host/v1", "holds no user, password or query"),
        ("http://host/v1?key=secret", "holds no user, password or query"),
    ],
)
def test_addresses_that_are_none(address: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        RemoteScorer(address, "tiny")


def test_arguments_that_ask_nothing(serve: Serve, connect: Connect) -> None:
    with pytest.raises(ValueError, match="in_flight 0 asks nothing"):
        connect(serve(), in_flight=0)
    for tokenizer in (True, None):
        scorer = connect(serve(), **({} if tokenizer else {"tokenizer": None}))
        with pytest.raises(ValueError, match="the continuation is empty"):
            scorer.loglikelihood([Request("The fox", "")])
        assert scorer.loglikelihood([]) == []
    assert RemoteScorer("http://localhost:1/v1/completions/", "tiny").identity()["path"] == "http://localhost:1/v1/tiny"
