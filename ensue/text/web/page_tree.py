"""The elements of a page and its runs of text, read in one compiled pass over its UTF-8.

Imported where it is used, since numba takes a while to load. It follows the HTML standard's parser (WHATWG, section 13)
as far as the text of pages needs it: raw text, comments, void elements, ends that are implied, and ends that match
nothing. It does not rebuild formatting that is wrongly nested, nor move what stands wrongly in a table.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ensue.text.web.page_attributes import MORE, SLASH, compiled, is_space, lower, read_attributes
from ensue.text.web.page_tags import (
    BLOCK,
    ENDS_PARAGRAPH,
    INLINE,
    RAW,
    VOID,
    element_tables,
    elements,
    name_trie,
)

DEEPEST = 400
"""Open elements; those that are nested deeper count as closed at once."""

_CODES = elements()
_SPECIAL = "a body dd dl dt head html li main ol p table tbody td tfoot th thead tr ul"
A, BODY, DD, DL, DT, HEAD, HTML, LI, MAIN, OL, P, TABLE, TBODY, TD, TFOOT, TH, THEAD, TR, UL = (
    _CODES[name] for name in _SPECIAL.split()
)
LESS, BANG, QUESTION, HYPHEN = b"<!?-"
HASH_MASK = (1 << 62) - 1


@dataclass(frozen=True)
class Tree:
    """A page's elements in the order of their beginnings, the first of which is the page itself, and its runs of text.

    data      the page in UTF-8
    tag       code of each element;  parent  its parent, -1 for none;  end  the first element that is not inside it
    names     what its names say;  begin  its place in `data`
    first_run, end_run  the runs inside it
    run_of    the element each run is right in;  run_at  how many elements had begun before it
    run_begin, run_end  its place in `data`
    """

    data: bytes = field(repr=False)
    tag: np.ndarray
    parent: np.ndarray
    end: np.ndarray
    names: np.ndarray
    begin: np.ndarray
    first_run: np.ndarray
    end_run: np.ndarray
    run_of: np.ndarray
    run_at: np.ndarray
    run_begin: np.ndarray
    run_end: np.ndarray


def read_tree(html: str | bytes) -> Tree:
    """The tree of a page, which is text or UTF-8."""
    data = html if isinstance(html, bytes) else html.encode("utf-8", "replace")
    most = data.count(b"<") + 2
    tag = np.empty(most, np.int16)
    parent, end, begin, first_run, end_run, run_of, run_at, run_begin, run_end = np.empty((9, most), np.int32)
    names = np.zeros(most, np.int64)
    hashes, codes, kinds = element_tables()
    count, runs = _read(
        np.frombuffer(data, np.uint8),
        (hashes, codes, kinds),
        name_trie(),
        (tag, parent, end, names, begin, first_run, end_run),
        (run_of, run_at, run_begin, run_end),
    )
    return Tree(
        data,
        *(array[:count] for array in (tag, parent, end, names, begin, first_run, end_run)),
        *(array[:runs] for array in (run_of, run_at, run_begin, run_end)),
    )


@compiled
def _end_of_raw(data: np.ndarray, name: int, name_end: int, place: int) -> int:
    """Where the end tag of an element of raw text begins, or the end of the page."""
    length = name_end - name
    for start in range(place, len(data) - length - 1):
        if data[start] == LESS and data[start + 1] == SLASH:
            same = True
            for offset in range(length):
                same = same and lower(data[start + 2 + offset]) == lower(data[name + offset])
            if same:
                return start
    return len(data)


@compiled
def _end_of_declaration(data: np.ndarray, place: int) -> int:
    """The place behind a comment, a doctype or a processing instruction that begins at `place`."""
    n = len(data)
    if place + 3 < n and data[place + 1] == BANG and data[place + 2] == HYPHEN and data[place + 3] == HYPHEN:
        after = place + 4
        if after < n and data[after] == MORE:
            return after + 1
        if after + 1 < n and data[after] == HYPHEN and data[after + 1] == MORE:
            return after + 2
        after += 2
        while after < n and not (data[after] == MORE and data[after - 1] == HYPHEN and data[after - 2] == HYPHEN):
            after += 1
        return min(after + 1, n)
    after = place + 2
    while after < n and data[after] != MORE:
        after += 1
    return min(after + 1, n)


@compiled
def _closed_by_end(code: int, kinds: np.ndarray, tag: np.ndarray, stack: np.ndarray, depth: int) -> int:
    """The depth of the open element that an end tag ends, 0 for none."""
    if code in (BODY, HTML):
        return 0
    for at in range(depth - 1, 0, -1):
        open_code = tag[stack[at]]
        if open_code == code:
            return at
        if kinds[code] & INLINE and kinds[open_code] & BLOCK:
            return 0
        of_table = code in (TABLE, TR, TBODY, THEAD, TFOOT)
        if (open_code in (TD, TH, TABLE)) and not of_table:
            return 0
        if open_code == TABLE:
            return 0
    return 0


@compiled
def _closed_by_begin(code: int, kinds: np.ndarray, tag: np.ndarray, stack: np.ndarray, depth: int) -> int:
    """The depth of the open element whose end is implied by another's begin, 0 for none."""
    closed = 0
    of_row = code in (TD, TH)
    of_table = of_row or code in (TR, TBODY, THEAD, TFOOT)
    if code == BODY:
        for at in range(depth - 1, 0, -1):
            if tag[stack[at]] == HTML:
                return closed
            closed = at
        return closed
    if tag[stack[depth - 1]] == HEAD and kinds[code] & ENDS_PARAGRAPH:
        return depth - 1
    for at in range(depth - 1, 0, -1):
        open_code = tag[stack[at]]
        if of_table:
            if open_code == TABLE:
                break
            if open_code in (TD, TH) or (open_code == TR and not of_row):
                closed = at
        elif code == LI:
            if open_code == LI:
                return at
            if open_code in (UL, OL, TD, TABLE):
                break
        elif code in (DT, DD):
            if open_code in (DT, DD):
                return at
            if open_code in (DL, TD, TABLE):
                break
        elif kinds[code] & ENDS_PARAGRAPH:
            if open_code == P:
                return at
            if not kinds[open_code] & INLINE:
                break
        elif code == A:
            if open_code == A:
                return at
            if not kinds[open_code] & INLINE:
                break
        else:
            break
    return closed


@compiled
def _read(data: np.ndarray, tables: Any, trie: Any, of_elements: Any, of_runs: Any) -> tuple[int, int]:
    """Fill in the arrays of a `Tree`; returns how many elements and how many runs there are."""
    hashes, codes, kinds = tables
    nodes, said = trie
    tag, parent, end, names, begin, first_run, end_run = of_elements
    run_of, run_at, run_begin, run_end = of_runs
    n = len(data)
    stack = np.zeros(DEEPEST, np.int64)
    tag[0], parent[0], begin[0], first_run[0] = 0, -1, 0, 0
    count, depth, runs = 1, 1, 0
    place = text = 0
    while True:
        while place < n:
            if data[place] == LESS and place + 1 < n:
                after = data[place + 1]
                if 97 <= after | 32 <= 122 or after in (SLASH, BANG, QUESTION):
                    break
            place += 1
        if place > text:
            run_of[runs], run_at[runs], run_begin[runs], run_end[runs] = stack[depth - 1], count, text, place
            runs += 1
        if place >= n:
            break
        start = place
        if data[place + 1] == BANG or data[place + 1] == QUESTION:
            place = text = _end_of_declaration(data, place)
            continue
        ends = data[place + 1] == SLASH
        place += 2 if ends else 1
        name, value = place, np.int64(0)
        while place < n and not (is_space(data[place]) or data[place] == MORE or data[place] == SLASH):
            value = (value * 131 + lower(data[place])) & HASH_MASK
            place += 1
        name_end = place
        found = np.searchsorted(hashes, value)
        code: Any = np.int64(codes[found]) if found < len(hashes) and hashes[found] == value else np.int64(0)
        place, say, closes_itself = read_attributes(data, place, nodes, said)
        place = text = min(place + 1, n)
        if ends:
            closed = _closed_by_end(code, kinds, tag, stack, depth) if code and not kinds[code] & VOID else 0
        else:
            closed = _closed_by_begin(code, kinds, tag, stack, depth)
        if closed:
            while depth > closed:
                depth -= 1
                end[stack[depth]], end_run[stack[depth]] = count, runs
        if ends:
            continue
        this = count
        count += 1
        tag[this], parent[this], begin[this], names[this], first_run[this] = code, stack[depth - 1], start, say, runs
        if kinds[code] & RAW:
            place = _end_of_raw(data, name, name_end, text)
            if place > text:
                run_of[runs], run_at[runs], run_begin[runs], run_end[runs] = this, count, text, place
                runs += 1
            while place < n and data[place] != MORE:
                place += 1
            place = text = min(place + 1, n)
        elif not kinds[code] & VOID and not (closes_itself and not kinds[code] & (BLOCK | INLINE)) and depth < DEEPEST:
            stack[depth] = this
            depth += 1
            continue
        end[this], end_run[this] = count, runs
    while depth > 0:
        depth -= 1
        end[stack[depth]], end_run[stack[depth]] = count, runs
    return count, runs
