"""The three primitives over any OpenAI-compatible completions server.

Log-likelihoods are read from the prompt that the server echoes with its log-probabilities. Where the tokenizer's folder
is known, token ids are sent, and the result is that of a local model; where it is not, text is sent, and the server's
tokens are parted where the continuation begins.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from typing import Any, TypeVar

from ensue.evaluate.remote_completions import Completions, Sent
from ensue.evaluate.remote_echo import check_tokens, common_beginning, place_in_text
from ensue.evaluate.remote_server import Patience, Refused, Server, Unreachable
from ensue.evaluate.remote_tokenizer import open_tokenizer
from ensue.evaluate.scorer import Decoding, OnDone, Prompt, Request, Scored, Unscorable, room_for_prompt
from ensue.generate.boundary import split_boundary
from ensue.generate.continuation import StopText
from ensue.tokens.tokenizer import Tokenizer

Ask = TypeVar("Ask")
Answer = TypeVar("Answer")

STOPS = 4
"""How many stop strings OpenAI's interface takes; the others are looked for here."""


class RemoteScorer:
    """A model behind a completions server: `Scorer` over HTTP.

    base_url      such as http://localhost:8000/v1
    model         the name that the server gives it
    tokenizer     a folder with the model's own tokenizer (any tokenizer.json), by which ids are sent, counted and
                  parted exactly
    window        tokens that the model can read; asked of the server unless said
    key_variable  the environment variable that holds the key
    in_flight     requests that are sent at a time
    more          further fields of each request's body, for what one server offers and others do not

    Raises ValueError where there is no such tokenizer, or for an address that is none.
    """

    def __init__(
        self,
        base_url: str,
        model: str,
        *,
        tokenizer: str | Path | None = None,
        window: int | None = None,
        key_variable: str = "OPENAI_API_KEY",
        in_flight: int = 8,
        patience: Patience | None = None,
        more: Mapping[str, Any] | None = None,
    ) -> None:
        if in_flight < 1:
            raise ValueError(f"in_flight {in_flight} asks nothing; type 1 or more.")
        server = Server(base_url, key_variable=key_variable, patience=patience)
        self.model = Completions(server, model, window=window, more=more or {})
        self.tokenizer: Tokenizer | None = None
        self._beginning: list[int] = []
        if tokenizer is not None:
            self.tokenizer, self._beginning = open_tokenizer(Path(tokenizer))
        self.in_flight = in_flight
        # What was not finished when a server dies is asked again, so no more is given together than is in flight.
        self.at_once = in_flight

    def close(self) -> None:
        """Close the connections."""
        self.model.server.close()

    def identity(self) -> Mapping[str, str]:
        """The name, and as `path` where it is served; a server does not tell its weights, so there is no digest."""
        return {
            "path": f"{self.model.server.address}/{self.model.name}",
            "name": self.model.name,
            "tokenizer": "the server's own" if self.tokenizer is None else self.tokenizer.fingerprint,
        }

    def window(self) -> int | None:
        """What was said, or what the server's list of models says (vLLM and SGLang do)."""
        return self.model.window()

    def count(self, text: str) -> int | None:
        """Tokens of a text; None where the tokenizer's folder is not known."""
        return None if self.tokenizer is None else len(self._beginning) + len(self.tokenizer.encode(text))

    def loglikelihood(self, requests: Sequence[Request], on_done: OnDone | None = None) -> list[Scored]:
        """How likely each continuation is.

        By ids the boundary is `split_boundary`'s, and a context that is too long for the window keeps its end. By text,
        a token that spans the boundary counts to the continuation. Raises ValueError for an empty continuation, for
        answers without log-probabilities, and for what the server refuses; Unreachable where it stopped answering.
        """
        self.model.prepare()
        return self._in_order(self._loglikelihood, requests, on_done)

    def rolling(
        self, texts: Sequence[str], *, stride: int | None = None, on_done: OnDone | None = None
    ) -> list[Scored]:
        """How likely each text is as a whole, in windows that begin `stride` tokens apart, each token scored once.

        The end token stands before the first, so the tokenizer's folder has to be known.
        """
        tokenizer = self._known_tokenizer("a text as a whole is scored after the end token")
        self.model.prepare()

        def roll(text: str, give_up: threading.Event) -> Scored:
            tokens = tokenizer.encode(text)
            room = self.model.room(len(self._beginning) + len(tokens) + 1) - len(self._beginning) - 1
            step = room if stride is None else stride
            if not 1 <= step <= room:
                raise ValueError(
                    f"a stride of {step} tokens is not within 1 to {room}, what this server's window takes."
                )
            return self._roll(tokenizer, tokens, room, step, give_up)

        return self._in_order(roll, texts, on_done)

    def generate(self, prompts: Sequence[Prompt], on_done: OnDone | None = None) -> list[str]:
        """What the model writes after each prompt.

        `sample` sends top_k, which OpenAI's own interface has not and vLLM's and SGLang's have. Raises ValueError for
        `beam`, which no field of the interface asks for.
        """
        self.window()
        return self._in_order(self._generate, prompts, on_done)

    def _loglikelihood(self, request: Request, give_up: threading.Event) -> Scored:
        try:
            if self.tokenizer is None:
                return self._by_text(request, give_up)
            before, after = split_boundary(self.tokenizer, request.context, request.continuation)
            return self._by_ids(self.tokenizer, before, after, give_up)
        except Unreachable:
            raise
        except ValueError as error:
            hint = ""
            if isinstance(error, Refused) and self.tokenizer is None:
                hint = " If it is too long: with the tokenizer's folder, contexts are cut to fit."
            raise ValueError(f"{error} It was asked for {_shortened(request.continuation)!r}.{hint}") from error

    def _by_ids(
        self, tokenizer: Tokenizer, before: Sequence[int], after: Sequence[int], give_up: threading.Event
    ) -> Scored:
        first = self._beginning
        if first and before[:1] == [tokenizer.end]:  # which only stands for a beginning
            before = before[1:]
        room = self.model.room(len(first) + len(before) + len(after)) - len(first)
        rest = after[-(room if first else room - 1) :]
        if len(rest) < len(after):  # foretold from the token before what is left
            before = after[: len(after) - len(rest)]
        ids = [*first, *[*before, *rest][-room:]]
        echo = self.model.echo(ids, give_up)
        check_tokens(tokenizer, ids, echo)
        _, nats, greedy = echo.scored(len(echo.tokens) - len(rest))
        unscored = len(after) - len(rest)
        cut = max(0, len(before) + len(rest) - room)
        return Scored(tuple(_text(tokenizer, token) for token in rest), nats, greedy, cut, unscored)

    def _by_text(self, request: Request, give_up: threading.Event) -> Scored:
        if not request.continuation:
            raise ValueError("the continuation is empty, so there is nothing to score; give it some text.")
        kept = request.context.rstrip()
        text = request.context + request.continuation
        echo = self.model.echo(text, give_up)
        place = place_in_text(echo, text, len(kept))
        if place is None:  # offsets that drift, as they do over parts of characters: see what the context's tokens are
            place = common_beginning(echo.tokens, self.model.echo(kept, give_up).tokens) if kept else 0
        return Scored(*echo.scored(place))

    def _roll(
        self, tokenizer: Tokenizer, tokens: Sequence[int], room: int, step: int, give_up: threading.Event
    ) -> Scored:
        whole = [tokenizer.end, *tokens]
        pieces: list[Scored] = []
        start = 1
        while start < len(whole):
            stop = min(len(whole), start + (step if pieces else room))
            pieces.append(self._by_ids(tokenizer, whole[max(0, stop - room - 1) : start], whole[start:stop], give_up))
            start = stop
        return Scored(
            tuple(token for piece in pieces for token in piece.tokens),
            tuple(nats for piece in pieces for nats in piece.token_nats),
            all(piece.greedy for piece in pieces),
        )

    def _generate(self, prompt: Prompt, give_up: threading.Event) -> str:
        decoding = prompt.decoding
        window = self.window()
        most = decoding.most if window is None else window - room_for_prompt(window, decoding)
        fields: dict[str, Any] = {"max_tokens": most, **_sampling(decoding, prompt.seed)}
        if decoding.stop:
            fields["stop"] = list(decoding.stop[:STOPS])
        stopping = StopText(decoding.stop)
        return stopping.feed(self.model.write(self._prompt(prompt), fields, give_up)) + stopping.finish()

    def _prompt(self, prompt: Prompt) -> Sent:
        if self.tokenizer is None:
            return prompt.text
        first, ids = self._beginning, self.tokenizer.encode(prompt.text)
        window = self.window()
        room = len(ids) if window is None else max(1, room_for_prompt(window, prompt.decoding) - len(first))
        return [*first, *ids[-room:]] or [self.tokenizer.end]

    def _known_tokenizer(self, why: str) -> Tokenizer:
        if self.tokenizer is None:
            raise ValueError(f"{why}, and a server does not say which it is; give the folder of the model's tokenizer.")
        return self.tokenizer

    def _in_order(
        self, work: Callable[[Ask, threading.Event], Answer], asks: Sequence[Ask], on_done: OnDone | None
    ) -> list[Answer]:
        """The answers in the order of what is asked; the first that fails ends the others.

        Raises Unscorable with its place, or Unreachable.
        """
        give_up = threading.Event()
        failures: list[BaseException] = []

        def one(place: int, ask: Ask) -> Answer:
            if give_up.is_set():
                raise Unreachable("another failed")
            try:
                return work(ask, give_up)
            except BaseException as error:
                blamed = isinstance(error, ValueError) and not isinstance(error, Unreachable)
                failures.append(Unscorable(str(error), place) if blamed else error)
                give_up.set()
                raise

        with ThreadPoolExecutor(self.in_flight) as pool:
            futures = [pool.submit(one, place, ask) for place, ask in enumerate(asks)]
            try:
                for future in as_completed(futures):
                    future.result()
                    if on_done is not None:
                        on_done(1)
            except BaseException as error:
                give_up.set()
                pool.shutdown(wait=False, cancel_futures=True)
                raise (failures or [error])[0] from None
        return [future.result() for future in futures]


def _sampling(decoding: Decoding, seed: int) -> dict[str, Any]:
    if decoding.kind == "greedy":
        return {"temperature": 0}
    if decoding.kind == "sample":
        cuts = {"top_k": decoding.top_k, "top_p": decoding.top_p}
        return {"temperature": 1, "seed": seed % 2**31, **{name: cut for name, cut in cuts.items() if cut is not None}}
    search = "beam search" if decoding.kind == "beam" else "search for whole words"
    raise ValueError(
        f"OpenAI's interface has no {search}. Take a task that decodes greedily, or evaluate the model's own files "
        "(ensue evaluate FOLDER), which can."
    )


def _text(tokenizer: Tokenizer, token: int) -> str:
    return tokenizer.token_bytes(token).decode("utf-8", "backslashreplace")


def _shortened(text: str) -> str:
    return text if len(text) <= 60 else text[:57] + "..."
