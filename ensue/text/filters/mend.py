"""Text that went through the wrong encoding, or holds what no reader sees, put right."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Literal

from ensue.text.curation.step import Judge, Verdict, change
from ensue.text.document import Document

Form = Literal["", "NFC", "NFKC"]
PIECE_CHARACTERS = 100_000

# All of Unicode's control characters but tab and line feed, and half characters, which no encoding can store.
_CONTROLS = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff]")
_MARKS = re.compile("[\ufeff\ufffe\uffff\ufff9-\ufffb]")
_ANY_OF_THESE = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff\ufeff\ufffe\uffff\ufff9-\ufffb]")
"""What the removal of controls and the ends of lines look for: one search instead of four where there is none."""

_LINE_SPACES = re.compile(r"[^\S\n]+(?=\n|\Z)")
_BLANK_LINES = re.compile(r"\n{4,}")
_LINE_ENDS = re.compile("\r\n?|\u2028|\x85")

# All that ftfy takes for mojibake has two characters outside ASCII side by side, or one of these (ftfy.badness). Most
# lines in Latin script have neither, which is told in a tenth of the time.
_MAY_BE_MIXED = re.compile("[^\x00-\x7f][^\x00-\x7f]|[\x80-\x9fÃÂŒœ]")


@dataclass(frozen=True)
class Mend:
    """Change text that has these faults; nothing is dropped.

    mojibake    undo decoding in the wrong encoding ("schÃ¶n" for "schön") where ftfy is sure of it, line by line; and
                decoding of Windows' quotation marks and dashes as control characters
    unicode     "NFC" to compose letters and their accents, "NFKC" to replace letters of other shape too, such as
                ligatures and full-width ones (which changes what Chinese and Japanese text looks like); "" for neither
    controls    remove control characters, byte order marks and other code points that no text is made of
    line_ends   end lines and paragraphs with line feeds alone
    line_spaces  remove blanks at the end of lines, and all but two of several blank lines in a row
    """

    mojibake: bool = True
    unicode: Form = ""
    controls: bool = True
    line_ends: bool = True
    line_spaces: bool = False

    def __post_init__(self) -> None:
        if self.unicode not in ("", "NFC", "NFKC"):
            raise ValueError(f'unicode={self.unicode!r} is not a form that is known; say "NFC", "NFKC" or "".')

    def prepare(self) -> Judge:
        """The judge. Raises ValueError if ftfy is needed and not installed."""
        if not self.mojibake:
            return lambda document: self._judge(document, None)
        if find_spec("ftfy") is None:
            raise ValueError("To mend mojibake, type: pip install 'ensue[corpus]'")
        from ftfy import fix_encoding
        from ftfy.fixes import fix_c1_controls

        return lambda document: self._judge(document, lambda line: fix_c1_controls(fix_encoding(line)))

    def _judge(self, document: Document, unmixed: Callable[[str], str] | None) -> Verdict:
        text = document.text
        # Before the rest, which would take parts of mixed-up letters for control characters and line ends.
        if unmixed is not None and not text.isascii() and _MAY_BE_MIXED.search(text):
            text = "\n".join(_mended(line, unmixed) for line in text.split("\n"))
        if _ANY_OF_THESE.search(text):
            if self.line_ends:
                text = _LINE_ENDS.sub("\n", text).replace("\u2029", "\n\n")
            if self.controls:
                text = _MARKS.sub("", _CONTROLS.sub("", text))
        if self.unicode and not unicodedata.is_normalized(self.unicode, text):
            text = unicodedata.normalize(self.unicode, text)
        if self.line_spaces:
            text = _BLANK_LINES.sub("\n\n\n", _LINE_SPACES.sub("", text))
        return change(document, text, "mended")


def _mended(line: str, unmixed: Callable[[str], str]) -> str:
    """A line, or a very long one piece by piece, so that no line costs more than its share."""
    if line.isascii() or not _MAY_BE_MIXED.search(line):
        return line
    pieces = (line[start : start + PIECE_CHARACTERS] for start in range(0, len(line), PIECE_CHARACTERS))
    return "".join(map(unmixed, pieces))
