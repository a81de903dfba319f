"""The first sentences of a text, by its punctuation."""

from __future__ import annotations

import re

_CLOSING = "\"'”’)\\]»」』）"
_SHORT = re.compile(
    r"(?:^|[\s(\"“'‘])(?:[A-Z]|(?:[A-Za-z]\.)+[A-Za-z]|Mr|Mrs|Ms|Dr|Prof|Rev|Sen|Rep|Gov|Gen|Col|Lt|Sgt|Capt|St|Jr|Sr|No|vs|"
    r"M|Mme|Mlle|Nr|bzw|z\.B|ca)\.$"
)
_END = re.compile(rf"[.!?…]+[{_CLOSING}]*(?=\s|$)|[。！？]+[{_CLOSING}]*|\n+")


def sentences(text: str) -> list[str]:
    """A text's sentences, without space around them.

    One ends with . ! ? or … before a space that no small letter follows (in a text that has large ones), with 。！？
    anywhere, and with a line. A full stop after an initial or one of a few titles ends none.
    """
    found, begin, cased = [], 0, text != text.lower()
    for end in _END.finditer(text):
        goes_on = cased and text[end.end() :].lstrip(" ")[:1].islower()
        if end[0][0] in ".!?…" and (goes_on or (end[0] == "." and _SHORT.search(text, begin, end.end()))):
            continue
        found.append(text[begin : end.end()].strip())
        begin = end.end()
    found.append(text[begin:].strip())
    return [sentence for sentence in found if sentence]


def first_sentence(text: str) -> str:
    """The first sentence of a text, or nothing of none."""
    return next(iter(sentences(text)), "")
