"""Which scripts put no space between words, and which end a sentence without a mark."""

from __future__ import annotations

# fmt: off
SHORT_WORDS = (
    (0x3005, 0x3007), (0x3040, 0x30FF), (0x3100, 0x312F), (0x31A0, 0x31BF), (0x31F0, 0x31FF), (0x3400, 0x4DBF),
    (0x4E00, 0x9FFF), (0xF900, 0xFAFF), (0xFF66, 0xFF9F), (0x16FE0, 0x18DFF), (0x1AFF0, 0x1B16F), (0x20000, 0x3FFFF),
)
"""First and last code points of Chinese characters, kana and bopomofo, and of Tangut, Khitan and Nushu."""

LONG_WORDS = (
    (0x0E00, 0x0E4E), (0x0E80, 0x0ECE), (0x0F00, 0x0FFF), (0x1000, 0x109F), (0x1780, 0x17DD), (0x1950, 0x19DF),
    (0x1A20, 0x1AAF), (0xA9E0, 0xA9FF), (0xAA60, 0xAADF),
)
# fmt: on
"""Thai, Lao, Tibetan, Burmese, Khmer, the Tai scripts: letters of an alphabet, so a word takes more of them."""

CHARACTERS_A_SHORT_WORD = 1.5
CHARACTERS_A_LONG_WORD = 3.0
"""Estimates, marks above and below letters not counted: a word of running Chinese or Japanese has one or two
characters, a Thai one about four code points of which one is a mark."""

UNMARKED = ((0x0E00, 0x0EFF),)
"""Thai and Lao, whose sentences end with a space."""


def is_unspaced(code: int) -> bool:
    """Whether the character with this code point belongs to a script without spaces, marks and signs included."""
    return any(first <= code <= last for first, last in SHORT_WORDS + LONG_WORDS)


def letters_of(ranges: tuple[tuple[int, int], ...]) -> str:
    """The inside of a regular expression's class: the letters in `ranges`, without marks, digits and signs."""
    runs: list[list[int]] = []
    for first, last in ranges:
        if last - first > 1000:  # ideographs all through
            runs.append([first, last])
            continue
        for code in range(first, last + 1):
            if chr(code).isalpha():
                if runs and runs[-1][1] == code - 1:
                    runs[-1][1] = code
                else:
                    runs.append([code, code])
    return "".join(f"{chr(first)}-{chr(last)}" for first, last in runs)
