r"""GPT-2's invertible de-tokenizers: tokenised text as it would be written, from which the tokens come back exactly.

Several published sets are tokenised: spaces before punctuation, parted contractions, ` @-@ ` for a hyphen. GPT-2 (2019,
section 3.1) undoes that with rules that can be inverted, since only then the likelihood of the written text is one of
the set's own; its code is unpublished, and these rules are our own. `<unk>` and the `N` for a number stay: what they
stand for is lost, so that nothing written in their place could be inverted.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ensue.evaluate.detokenizer_rules import (
    news_pieces,
    prose_joins,
    treebank_joins,
    treebank_pieces,
    wikitext_pieces,
    wikitext_written,
)

MARK = "\\"
"""Before a token that the rules would not give back: it is written as it is, and alone."""


@dataclass(frozen=True)
class Detokenizer:
    r"""How lines of tokens are written, and how tokens are read from what was written.

    joins    of a line's tokens, whether there is no space between each and the next
    written  how a token in the midst of joined ones is written
    pieces   the tokens of what stands between two spaces: the rules that are inverted
    margin   whether the set's lines begin and end with a space, which is not written

    A join is made only where `pieces` parts it again, and a token that stands alone and would be parted is written
    after a `\`, so that `undo(apply(text)) == text` for every text there is.
    """

    name: str
    joins: Callable[[Sequence[str]], list[bool]]
    pieces: Callable[[str], list[str]]
    written: Callable[[str], str] = str
    margin: bool = False

    def apply(self, text: str) -> str:
        """The text as it would be written."""
        *lines, last = text.split("\n")
        return "\n".join([*map(self._write, lines), (self._write(last) or f"{MARK} {last}") if last else ""])

    def undo(self, text: str) -> str:
        """The tokenised text that `apply` made it from."""
        *lines, last = text.split("\n")
        return "\n".join([*map(self._read, lines), self._read(last) if last else ""])

    def _write(self, line: str) -> str:
        if self.margin:
            if line != " " and not (len(line) > 2 and line[0] == line[-1] == " "):
                return f"{MARK} {line}"
            line = line[1:-1]
        return " ".join(self._chunks(line.split(" ")))

    def _read(self, line: str) -> str:
        if self.margin and line.startswith(f"{MARK} "):
            return line[2:]
        if self.margin and not line:
            return " "
        read = " ".join(token for chunk in line.split(" ") for token in self._tokens(chunk))
        return f" {read} " if self.margin else read

    def _tokens(self, chunk: str) -> list[str]:
        return [chunk[1:]] if chunk.startswith(MARK) else self.pieces(chunk)

    def _chunks(self, tokens: Sequence[str]) -> list[str]:
        joins = self.joins(tokens)
        chunks, start = [], 0
        while start < len(tokens):
            end = start + 1
            while end < len(tokens) and joins[end - 1]:
                end += 1
            while end > start + 1 and self._tokens(self._joined(tokens[start:end])) != list(tokens[start:end]):
                end -= 1
            chunks.append(self._joined(tokens[start:end]) if end > start + 1 else self._alone(tokens[start]))
            start = end
        return chunks

    def _joined(self, tokens: Sequence[str]) -> str:
        return "".join([tokens[0], *map(self.written, tokens[1:-1]), tokens[-1]])

    def _alone(self, token: str) -> str:
        return token if self._tokens(token) == [token] else MARK + token


WIKITEXT = Detokenizer("wikitext", prose_joins, wikitext_pieces, wikitext_written, margin=True)
"""WikiText-2 and WikiText-103 (Merity et al. 2016)."""

PENN_TREEBANK = Detokenizer("penn treebank", treebank_joins, treebank_pieces, margin=True)
"""Penn Treebank as Mikolov et al. (2010) made it: lower case, no punctuation, `<unk>`, `N` for numbers."""

BILLION_WORDS = Detokenizer("one billion words", prose_joins, news_pieces)
"""The one billion word benchmark (Chelba et al. 2013): one sentence a line."""
