"""A model with its tokenizer: text in, text out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, overload

from ensue.generate.beam import beam_search
from ensue.generate.boundary import split_boundary
from ensue.generate.classify import Answer, Tuned, classify, no_head
from ensue.generate.continuation import Continuation, check_stops
from ensue.generate.decode import generate_tokens, stream_tokens
from ensue.generate.score import loglikelihoods, rolling_loglikelihood
from ensue.generate.settings import Sampling
from ensue.model.config import GPTConfig
from ensue.model.gpt import GPT
from ensue.tokens.conversation import ChatTemplate, checked_messages, ends_of
from ensue.tokens.conversation_rows import fitted
from ensue.tokens.tokenizer import Tokenizer


@dataclass(frozen=True)
class LM:
    """What `ensue.load(path)` returns. `model(tokens)` gives logits; `path` is the folder both were read from; `tuned`
    is there where the model was tuned on a task, and `template` where it was tuned to answer."""

    model: GPT
    tokenizer: Tokenizer
    path: Path
    tuned: Tuned | None = None
    template: ChatTemplate | None = None

    @property
    def config(self) -> GPTConfig:
        """The model's shape and parts."""
        return self.model.config

    @overload
    def generate(
        self,
        prompt: str,
        *,
        max_new_tokens: int = 50,
        temperature: float = 0.0,
        top_k: int | None = None,
        top_p: float | None = None,
        repetition_penalty: float = 1.0,
        no_repeat_ngram: int = 0,
        beams: int = 1,
        seed: int = 0,
        stop: Sequence[str] = (),
        truncate: bool = False,
    ) -> str: ...

    @overload
    def generate(
        self,
        prompt: list[str] | tuple[str, ...],
        *,
        max_new_tokens: int = 50,
        temperature: float = 0.0,
        top_k: int | None = None,
        top_p: float | None = None,
        repetition_penalty: float = 1.0,
        no_repeat_ngram: int = 0,
        beams: int = 1,
        seed: int = 0,
        stop: Sequence[str] = (),
        truncate: bool = False,
    ) -> list[str]: ...

    def generate(
        self,
        prompt: str | Sequence[str],
        *,
        max_new_tokens: int = 50,
        temperature: float = 0.0,
        top_k: int | None = None,
        top_p: float | None = None,
        repetition_penalty: float = 1.0,
        no_repeat_ngram: int = 0,
        beams: int = 1,
        seed: int = 0,
        stop: Sequence[str] = (),
        truncate: bool = False,
    ) -> str | list[str]:
        """What ensues after the prompt (without it), or after each of several; `Sampling` explains the settings.

        It ends at the tokenizer's end token, before the first of the `stop` strings, or after `max_new_tokens`. An
        empty prompt starts from the end token, as GPT-2's unconditional samples do. `beams` above 1 is a beam search
        with GPT-3's length penalty. Past the context the model goes on with its last half (see `decode`); a prompt
        longer than the context is an error unless `truncate` keeps only its end. The same prompt and seed give the same
        text whatever else is in the list; a prompt that is in it twice gives two samples.
        """
        sampling = Sampling(temperature, top_k, top_p, repetition_penalty, no_repeat_ngram, seed)
        texts = [prompt] if isinstance(prompt, str) else list(prompt)
        if beams == 1:
            prompts = [self._prompt(text, truncate, self.config.context) for text in texts]
            written = self._write(prompts, sampling, max_new_tokens, stop)
        else:
            if (temperature, top_k, top_p, repetition_penalty) != (0, None, None, 1):
                raise ValueError(
                    f"beams {beams} searches for the likeliest text and draws nothing; leave out temperature, top_k, "
                    "top_p and repetition_penalty, or beams."
                )
            room = max(1, self.config.context - max_new_tokens)
            prompts = [self._prompt(text, truncate, room) for text in texts]
            written = [self._search(ids, beams, max_new_tokens, no_repeat_ngram, stop) for ids in prompts]
        return written[0] if isinstance(prompt, str) else written

    def stream(
        self,
        prompt: str,
        *,
        max_new_tokens: int = 50,
        temperature: float = 0.0,
        top_k: int | None = None,
        top_p: float | None = None,
        repetition_penalty: float = 1.0,
        no_repeat_ngram: int = 0,
        seed: int = 0,
        stop: Sequence[str] = (),
        truncate: bool = False,
    ) -> Iterator[str]:
        """The text of `generate` in pieces, each as soon as it is certain: whole characters, no start of a stop string.

        Bad arguments raise at once, before the first piece is asked for.
        """
        sampling = Sampling(temperature, top_k, top_p, repetition_penalty, no_repeat_ngram, seed)
        steps = stream_tokens(
            self.model,
            [self._prompt(prompt, truncate, self.config.context)],
            sampling=sampling,
            max_new_tokens=max_new_tokens,
            stop_tokens=frozenset({self.tokenizer.end}),
            vocabulary=self.tokenizer.vocab_size,
        )
        return Continuation(self.tokenizer, stop).pieces(token for [(_, token)] in steps)

    def chat(
        self,
        conversation: str | Sequence[Mapping[str, Any]],
        *,
        max_new_tokens: int = 256,
        temperature: float = 0.0,
        top_k: int | None = None,
        top_p: float | None = None,
        repetition_penalty: float = 1.0,
        no_repeat_ngram: int = 0,
        seed: int = 0,
        stop: Sequence[str] = (),
    ) -> str:
        """The answer to a text, or to messages such as {"role": "user", "content": "Hello"}, the oldest first.

        They are rendered with the template saved with the tokenizer. The answer ends where the model ends it or begins
        another's turn, or after `max_new_tokens`. Of a conversation that leaves no room for so many (or for half the
        context, where that is less), the oldest turns are left out, then the beginning of the prompt. Raises ValueError
        for a model that has no template, and for what is no conversation.
        """
        if self.template is None:
            raise ValueError(
                f"{self.path} has no conversation template: it was not tuned to answer. Type:\n"
                f"  ensue finetune {self.path} DATA --task instruct --run runs/chat"
            )
        messages = checked_messages(conversation)
        if messages[-1]["role"] == "assistant":
            raise ValueError("the last message is the assistant's own; end the conversation with one to be answered.")
        sampling = Sampling(temperature, top_k, top_p, repetition_penalty, no_repeat_ngram, seed)
        room = self.config.context - min(max_new_tokens, self.config.context // 2)
        _, ids, _ = fitted(self.template, self.tokenizer, messages, limit=room)
        ends = ends_of(self.template, self.tokenizer)
        return self._write([ids], sampling, max_new_tokens, (*stop, *ends.texts), ends.tokens)[0].strip()

    def loglikelihood(self, context: str, continuation: str) -> float:
        """ln p(continuation | context) in nats, summed over the continuation's tokens; see `loglikelihoods`."""
        return self.loglikelihoods([(context, continuation)])[0]

    def loglikelihoods(self, pairs: Sequence[tuple[str, str]]) -> list[float]:
        """ln p(continuation | context) in nats of each pair of texts, batched.

        The two are tokenised together, as in a text, and parted as `split_boundary` says. An empty context is the end
        token. A context too long for the window keeps its last tokens. Raises ValueError for an empty continuation and
        for one longer than the window.
        """
        split = [split_boundary(self.tokenizer, context, continuation) for context, continuation in pairs]
        return loglikelihoods(self.model, split)

    def rolling_loglikelihood(self, text: str) -> float:
        """ln p(text) in nats of a text of any length, each token scored once; the first follows the end token."""
        return rolling_loglikelihood(self.model, self.tokenizer.encode(text), first=self.tokenizer.end)

    @overload
    def classify(self, first: str, second: str | Sequence[str] | None = None) -> Answer: ...

    @overload
    def classify(
        self, first: list[str] | tuple[str, ...], second: Sequence[str] | Sequence[Sequence[str]] | None = None
    ) -> list[Answer]: ...

    def classify(self, first: str | Sequence[str], second: Any = None) -> Answer | list[Answer]:
        """The answer of a model that was tuned on a task.

        It is one to a text; to a premise and a hypothesis, or two sentences; or to a context and a list of choices.
        Lists of them give a list of answers, read in batches. Texts longer than the task's limit are cut as in tuning.
        Raises ValueError where the model was not tuned, and for what does not fit its task.
        """
        if self.tuned is None:
            raise no_head(self.path)
        if isinstance(first, str):
            return classify(self.tuned, self.tokenizer, [(first, second)])[0]
        seconds = [None] * len(first) if second is None else second
        if isinstance(seconds, str) or len(seconds) != len(first):
            raise ValueError(f"{len(first)} first texts need as many second ones; give two lists of one length.")
        return classify(self.tuned, self.tokenizer, list(zip(first, seconds, strict=True)))

    def _prompt(self, text: str, truncate: bool, room: int) -> list[int]:
        ids = self.tokenizer.encode(text) or [self.tokenizer.end]
        return ids[-room:] if truncate else ids

    def _write(
        self,
        prompts: Sequence[Sequence[int]],
        sampling: Sampling,
        max_new_tokens: int,
        stop: Sequence[str],
        ends: frozenset[int] = frozenset(),
    ) -> list[str]:
        ends = ends or frozenset({self.tokenizer.end})
        continuations = [Continuation(self.tokenizer, stop) for _ in prompts]
        pieces: list[list[str]] = [[] for _ in prompts]

        def read(row: int, token: int) -> bool:
            if token not in ends:
                pieces[row].append(continuations[row].feed(token))
            return continuations[row].stopped

        generate_tokens(
            self.model,
            prompts,
            sampling=sampling,
            max_new_tokens=max_new_tokens,
            stop_tokens=ends,
            vocabulary=self.tokenizer.vocab_size,
            on_token=read,
        )
        return ["".join(parts) + text.finish() for parts, text in zip(pieces, continuations, strict=True)]

    def _search(
        self, prompt: Sequence[int], beams: int, max_new_tokens: int, no_repeat_ngram: int, stop: Sequence[str]
    ) -> str:
        stops = check_stops(stop)
        best = beam_search(
            self.model,
            prompt,
            max_new_tokens=max_new_tokens,
            width=beams,
            stop_tokens=frozenset({self.tokenizer.end}),
            no_repeat_ngram=no_repeat_ngram,
            vocabulary=self.tokenizer.vocab_size,
            ended=(lambda tokens: self._stopped(tokens, stops)) if stops else None,
        )[0]
        return "".join(Continuation(self.tokenizer, stops).pieces(best.tokens))

    def _stopped(self, tokens: Sequence[int], stops: Sequence[str]) -> bool:
        text = self.tokenizer.decode(tokens)
        return any(stop in text for stop in stops)
