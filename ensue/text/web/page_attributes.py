"""The names in a tag's attributes, and what they say of its element; compiled. Imported where it is used."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar, cast

import numba
import numpy as np

from ensue.text.web.page_tags import ANY_SIGN, AT_END, AT_PART, AT_WORD, HIDDEN

F = TypeVar("F", bound=Callable[..., object])
MORE, SLASH, EQUALS, QUOTE, APOSTROPHE = b">/=\"'"
_ATTRIBUTES = np.frombuffer(b"class  id     role   itemprohidden style  aria-hi", np.uint8)


def compiled(function: F) -> F:
    """The function as machine code, compiled at its first call and kept on disk for other processes."""
    return cast(F, numba.njit(cache=True, nogil=True)(function))


@compiled
def lower(byte: int) -> int:
    return byte + 32 if 65 <= byte <= 90 else byte


@compiled
def is_space(byte: int) -> bool:
    return byte == 32 or 9 <= byte <= 13


@compiled
def _sign_of(byte: int) -> int:
    """The trie's sign for a byte of a name."""
    if 97 <= byte <= 122:
        return byte - 97
    if 65 <= byte <= 90:
        return byte - 65
    if 48 <= byte <= 57:
        return byte - 22
    return ANY_SIGN


@compiled
def _follow(data: np.ndarray, place: int, end: int, node: int, nodes: np.ndarray, said: np.ndarray) -> int:
    """What the names say that begin at `place`, from a node of the trie on."""
    found = 0
    while place < end and data[place] > 32:
        sign = _sign_of(data[place])
        node = nodes[node, sign] if sign < ANY_SIGN + 1 else 0
        if node == 0:
            return found
        found |= said[node]
        place += 1
    return int(found | said[nodes[node, AT_END]])


@compiled
def names_say(data: np.ndarray, begin: int, end: int, nodes: np.ndarray, said: np.ndarray) -> int:
    """What the value data[begin:end] of an attribute says by the names in it."""
    found = 0
    for place in range(begin, end):
        byte = data[place]
        if byte <= 32:
            continue
        found |= _follow(data, place, end, 0, nodes, said)
        before = data[place - 1] if place > begin else 32
        if before <= 32:
            found |= _follow(data, place, end, nodes[0, AT_WORD], nodes, said)
        if before <= 32 or _sign_of(before) == ANY_SIGN or (65 <= byte <= 90 and 97 <= before <= 122):
            found |= _follow(data, place, end, nodes[0, AT_PART], nodes, said)
    return found


@compiled
def _is_hiding(data: np.ndarray, begin: int, end: int) -> bool:
    """Whether a style is display: none."""
    for place in range(begin, end - 11):
        is_display = (
            lower(data[place]) == 100 and lower(data[place + 2]) == 115 and lower(data[place + 6]) == 121
        )  # d, s, y
        if not is_display:
            continue
        value = place + 7
        while value < end and (data[value] == 58 or is_space(data[value])):
            value += 1
        if value + 3 < end + 1 and lower(data[value]) == 110 and lower(data[value + 1]) == 111:  # n, o
            return lower(data[value + 2]) == 110
    return False


@compiled
def _attribute(data: np.ndarray, name: int, name_end: int) -> int:
    """Which of the seven attributes that are looked at this is, from 1 on; 0 for none."""
    length = name_end - name
    for which in range(7):
        size = 0
        while size < 7 and _ATTRIBUTES[which * 7 + size] != 32:
            size += 1
        # Of itemprop and aria-hidden the first seven letters are compared.
        if size != min(length, 7) or (length > 7 and which != 3 and which != 6):
            continue
        same = True
        for offset in range(size):
            same = same and lower(data[name + offset]) == _ATTRIBUTES[which * 7 + offset]
        if same:
            return which + 1
    return 0


@compiled
def read_attributes(data: np.ndarray, place: int, nodes: np.ndarray, said: np.ndarray) -> tuple[int, int, bool]:
    """(place of the tag's end, what its names say, whether it closes itself)."""
    n = len(data)
    found = 0
    closes_itself = False
    while place < n and data[place] != MORE:
        if is_space(data[place]):
            place += 1
            continue
        if data[place] == SLASH:
            closes_itself = place + 1 < n and data[place + 1] == MORE
            place += 1
            continue
        name = place
        place += 1  # a name may begin with an equals sign
        while place < n and not (
            is_space(data[place]) or data[place] == EQUALS or data[place] == MORE or data[place] == SLASH
        ):
            place += 1
        name_end = place
        after = place
        while after < n and is_space(data[after]):
            after += 1
        value = value_end = place
        if after < n and data[after] == EQUALS:
            place = after + 1
            while place < n and is_space(data[place]):
                place += 1
            if place < n and (data[place] == QUOTE or data[place] == APOSTROPHE):
                quote = data[place]
                value = place + 1
                place = value
                while place < n and data[place] != quote:
                    place += 1
                value_end = place
                place += 1
            else:
                value = place
                while place < n and not (is_space(data[place]) or data[place] == MORE):
                    place += 1
                value_end = place
        which = _attribute(data, name, name_end)
        if 1 <= which <= 4:
            found |= names_say(data, value, value_end, nodes, said)
        elif (
            which == 5
            or (which == 6 and _is_hiding(data, value, value_end))
            or (which == 7 and value_end - value == 4 and lower(data[value]) == 116)  # true
        ):
            found |= HIDDEN
    return min(place, n), found, closes_itself
