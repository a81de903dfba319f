"""Text as it comes out, token by token: whole characters only, and nothing from a stop string on."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from ensue.tokens.stream_decoder import StreamDecoder
from ensue.tokens.tokenizer import Tokenizer


class StopText:
    """Passes text on until one of the stop strings is complete, and drops it from where that one began.

    Text that could be the start of a stop string is held back until it is clear whether it is. How the text is divided
    into pieces changes nothing: the stop string that is complete first counts, and of several, the longest.
    """

    def __init__(self, stops: Sequence[str]) -> None:
        self.stops = check_stops(stops)
        self.stopped = False
        self._held = ""

    def feed(self, piece: str) -> str:
        """What can be passed on now that `piece` has come."""
        text = self._held + piece
        found = [(text.find(stop) + len(stop), text.find(stop)) for stop in self.stops if stop in text]
        if found:
            self.stopped = True
            self._held = ""
            return text[: min(found)[1]]
        held = max((_overlap(text, stop) for stop in self.stops), default=0)
        self._held = text[len(text) - held :]
        return text[: len(text) - held]

    def finish(self) -> str:
        """What was held back, once nothing more will come."""
        held, self._held = self._held, ""
        return held


class Continuation:
    """One row's new text: tokens in, certain text out. The pieces and `finish` joined are the whole continuation."""

    def __init__(self, tokenizer: Tokenizer, stops: Sequence[str]) -> None:
        self._decoder, self._end = StreamDecoder(tokenizer), tokenizer.end
        self._stop_text = StopText(stops)

    @property
    def stopped(self) -> bool:
        """Whether a stop string was reached; nothing more comes out then."""
        return self._stop_text.stopped

    def feed(self, token: int) -> str:
        """The text that is certain now that `token` has come; often empty."""
        return "" if self.stopped else self._stop_text.feed(self._decoder.feed(token))

    def finish(self) -> str:
        """The rest of the text, once no token will come."""
        if self.stopped:
            return ""
        rest = self._stop_text.feed(self._decoder.finish())
        return rest + self._stop_text.finish()

    def pieces(self, tokens: Iterable[int]) -> Iterator[str]:
        """The text of `tokens` in pieces, each as soon as it is certain. The end token says nothing, and no token is
        asked for behind a stop string."""
        for token in tokens:
            if token != self._end and (piece := self.feed(token)):
                yield piece
            if self.stopped:
                return
        if rest := self.finish():
            yield rest


def check_stops(stops: Sequence[str]) -> tuple[str, ...]:
    """The stop strings as a tuple; ValueError for a single string and for an empty one."""
    if isinstance(stops, str):
        raise ValueError(f"stop is a list of strings; type stop=[{stops!r}].")
    if "" in stops:
        raise ValueError("a stop string is empty, which would stop before the first token; leave it out.")
    return tuple(stops)


def _overlap(text: str, stop: str) -> int:
    """How many characters at the end of `text` begin `stop`, without completing it."""
    longest = min(len(text), len(stop) - 1)
    return next((size for size in range(longest, 0, -1) if text.endswith(stop[:size])), 0)
