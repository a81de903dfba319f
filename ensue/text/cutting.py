"""Where a text may be cut with the least harm."""

from __future__ import annotations

_PLACES = ("\n\n", "\n", " ")


def cut_point(text: str, earliest: int, latest: int) -> int:
    """The last good place to cut `text` between two positions, `latest` included.

    After a blank line if there is one in the range, else after a line end, else after a space, else at `latest`.
    """
    for place in _PLACES:
        at = text.rfind(place, earliest, latest)
        if at >= 0:
            return at + len(place)
    return latest
