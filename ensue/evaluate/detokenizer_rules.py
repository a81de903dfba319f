"""Where a written text has no space between two tokens, and how the tokens are told apart again, by set."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import pairwise

CLOSING = frozenset(("...", "..", *",.;:!?)]}”’′″%°…"))
OPENING = frozenset("([{“‘$£¥€₤#")
BETWEEN = frozenset(("@-@", "@,@", "@.@", *"/⁄—‑"))
"""Written without a space on either side."""

_NUMBER_SIGNS = {"-": "@-@", ",": "@,@", ".": "@.@"}
_WRITTEN = {token: sign for sign, token in _NUMBER_SIGNS.items()}
_CONTRACTION = re.compile(r"'\w+")
_AFTER_CURLY = frozenset(("s", "t", "m", "ve", "re", "ll", "d", "S"))
_ABBREVIATION = re.compile(
    r"(?:[^\W\d]\.)+|(?:Mr|Mrs|Ms|Dr|St|Ste|Jr|Sr|Prof|Rev|Hon|Gen|Col|Maj|Capt|Cmdr|Lt|Sgt|Adm|Gov|Sen|Rep|No|Nos|vs|var|"
    r"pp|al|etc|Inc|Ltd|Co|Corp|Bros|Mt|Ft|Jan|Feb|Mar|Apr|Jun|Jul|Aug|Sept|Sep|Oct|Nov|Dec)\."
)
_WIKITEXT_SIGNS = re.compile(
    r"((?<=[0-9>])[,.](?=[0-9<])|(?<=[^\s\-@])-(?=[^\s\-@]))"
    r"|(\.{2,}|(?<=[\w>.])'\w+|[\"()\[\]{},;:!?/⁄–—‑’“”‘′″%°$£¥€₤#&'…])"
)
_NEWS_SIGNS = re.compile(r"()(\.{2,}|(?<![0-9])[,:]|[,:](?![0-9])|(?<=[\w>.])'\w+|[\"()\[\]{};!?—’“”‘%$£¥€'…])")
_TREEBANK = re.compile(r"(.+)(n't|'(?:s|re|ve|m|d|ll)?)|(.*\$)(N|<unk>)")


def wikitext_pieces(chunk: str) -> list[str]:
    """The tokens of what stands between two spaces. A hyphen, or a sign in a number, is one of `@-@ @,@ @.@`."""
    if chunk in _WRITTEN:
        return [chunk]
    if chunk and not chunk.strip("="):
        return list(chunk)
    return _parted(chunk, _WIKITEXT_SIGNS)


def wikitext_written(token: str) -> str:
    """`@-@` and its like as the sign they stand for."""
    return _WRITTEN.get(token, token)


def news_pieces(chunk: str) -> list[str]:
    """The tokens of what stands between two spaces, where words keep their hyphens and numbers their signs."""
    return _parted(chunk, _NEWS_SIGNS)


def treebank_pieces(chunk: str) -> list[str]:
    """The tokens of what stands between two spaces: a contraction's two, or a currency and its sum."""
    found = _TREEBANK.fullmatch(chunk)
    return [part for part in found.groups() if part is not None] if found else [chunk]


def prose_joins(tokens: Sequence[str]) -> list[bool]:
    """Whether each token of a line of English is written together with the next.

    Straight quotation marks open and close in turn within a line; an apostrophe after an s closes nothing. The equals
    signs of a heading (`= = Title = =`) stand together.
    """
    heading = len(tokens) > 2 and tokens[0] == tokens[-1] == "="
    open_marks: set[str] = set()
    joins: list[bool] = []
    right = False  # whether the token here is written together with the next, whatever that is
    for place, (here, after) in enumerate(pairwise(tokens)):
        if here in ('"', "'"):
            joined_left = bool(joins) and joins[-1]
            right = here not in open_marks and not (here == "'" and joined_left)
            (open_marks.add if right else open_marks.discard)(here)
        else:
            right = here in OPENING or here in BETWEEN or _between(tokens, place) or (heading and here == after == "=")
        joins.append(right or _joins_left(tokens, place + 1, open_marks))
    return joins


def treebank_joins(tokens: Sequence[str]) -> list[bool]:
    """Whether each token is written together with the next."""
    return [
        bool(re.fullmatch(r"n't|'(?:s|re|ve|m|d|ll)?", after)) or (here.endswith("$") and after in ("N", "<unk>"))
        for here, after in pairwise(tokens)
    ]


def _joins_left(tokens: Sequence[str], place: int, open_marks: set[str]) -> bool:
    before, token = tokens[place - 1], tokens[place]
    if token == '"':
        return token in open_marks
    if token == "'":
        return token in open_marks or before[-1:] in ("s", "x", "z")
    if token == "$":
        return bool(re.fullmatch("[A-Z]{1,3}", before))
    if before == "’":
        return token in _AFTER_CURLY
    return token in CLOSING or token in BETWEEN or _between(tokens, place) or bool(_CONTRACTION.fullmatch(token))


def _between(tokens: Sequence[str], place: int) -> bool:
    """Whether a sign that may also stand alone is written without spaces: 2–1, Wade–Giles, 22:00, A&M."""
    if not 0 < place < len(tokens) - 1:
        return False
    sides = tokens[place - 1], tokens[place + 1]
    if tokens[place] == "–":
        return all(side.isdecimal() for side in sides) or all(side[:1].isupper() for side in sides)
    if tokens[place] == ":":
        return all(side.isdecimal() for side in sides)
    return tokens[place] == "&" and all(side.isupper() and len(side) <= 2 for side in sides)


def _parted(chunk: str, signs: re.Pattern[str]) -> list[str]:
    words = signs.split(chunk)
    tokens = _without_final_dot(words[0])
    for number_sign, sign, word in zip(words[1::3], words[2::3], words[3::3], strict=True):
        tokens += [_NUMBER_SIGNS[number_sign] if number_sign else sign, *_without_final_dot(word)]
    return tokens or [""]


def _without_final_dot(word: str) -> list[str]:
    if word.endswith(".") and len(word) > 1 and not _ABBREVIATION.fullmatch(word):
        return [word[:-1], "."]
    return [word] if word else []
