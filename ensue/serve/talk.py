"""A conversation with a model, without a server: what each says, and the answers as they are written."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from ensue.generate.continuation import Continuation
from ensue.generate.engine.engine import Engine
from ensue.generate.engine.requests import Request
from ensue.generate.sampling import row_seeds
from ensue.generate.settings import Sampling
from ensue.serve.template import Trimmed
from ensue.tokens.conversation import ChatTemplate, checked_messages, ends_of
from ensue.tokens.conversation_rows import fitted
from ensue.tokens.tokenizer import Tokenizer


class Talk:
    """Messages so far, the oldest first. The engine keeps what it read of them, so that an answer begins at once."""

    def __init__(
        self, engine: Engine, tokenizer: Tokenizer, template: ChatTemplate, *, system: str | None = None
    ) -> None:
        self.engine, self.tokenizer, self.template = engine, tokenizer, template
        self.sampling = Sampling(0.8, top_p=0.95)
        self.most = 256
        self._system = [{"role": "system", "content": system}] if system else []
        self.messages: list[dict[str, str]] = list(self._system)
        self._ends = ends_of(template, tokenizer)

    def reset(self) -> None:
        """Forget everything but what the system says."""
        self.messages = list(self._system)

    def undo(self) -> bool:
        """Take back the last question and its answer; whether there was one."""
        asked = [place for place, message in enumerate(self.messages) if message["role"] == "user"]
        if not asked:
            return False
        del self.messages[asked[-1] :]
        return True

    def ask(self, text: str) -> Iterator[str]:
        """Say something; the answer in pieces. One that is broken off is remembered as far as it came.

        Where the conversation leaves no room for an answer, its oldest turns are left out, as in `lm.chat`. Raises
        ValueError for a conversation that the template refuses.
        """
        self.messages.append({"role": "user", "content": text})
        context = self.engine.passes.config.context
        room = context - min(self.most, context // 2)
        _, ids, _ = fitted(self.template, self.tokenizer, checked_messages(self.messages), limit=room)
        ids = ids[-(context - 1) :]
        return self._answer(ids, min(self.most, context - len(ids)))

    def _answer(self, ids: list[int], most: int) -> Iterator[str]:
        request = Request(tuple(ids), most=most, sampling=self.sampling, stop=self._ends.tokens, scored=False)
        (seed,) = row_seeds([ids], self.sampling.seed)
        number = self.engine.submit(replace(request, seed=seed))
        text, trimmed = Continuation(self.tokenizer, self._ends.texts), Trimmed()
        said: list[str] = []
        try:
            while self.engine.going or self.engine.waiting:
                for event in self.engine.step():
                    new = "".join(text.feed(told.token) for told in event.new if told.token not in request.stop)
                    piece = trimmed.feed(new + (text.finish() if event.finished else ""))
                    said.append(piece)
                    if piece:
                        yield piece
                if text.stopped:
                    return
        finally:
            self.engine.cancel(number)
            self.messages.append({"role": "assistant", "content": "".join(said)})
