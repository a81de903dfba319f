"""Which blocks of a page are its main text, in compiled passes over its tree.

Blocks are told by their length and by how much of them is links (Kohlschütter, Fankhauser and Nejdl 2010: Boilerplate
Detection using Shallow Text Features); parts of the page by what their authors call them, and by how much of the page's
good text they hold. Imported where it is used, as page_tree.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ensue.text.web.page_attributes import compiled
from ensue.text.web.page_tags import (
    ARTICLE,
    BESIDE,
    BLOCK,
    BODY,
    BREAK,
    CELL,
    COMMENTS,
    CONTENT,
    FORM,
    FRAME,
    HEADING,
    HIDDEN,
    ITEM,
    LINK,
    NAMED,
    SKIP,
    STORY,
    VERBATIM,
    WHOLE,
    element_tables,
)
from ensue.text.web.page_tree import MAIN, TR, Tree

LEAST_GOOD = 60
"""Bytes of a block that can be prose, which is not of links either and holds punctuation."""

MOST_LINKED = 0.35
MOST_PRUNED = 0.5
"""Of the page's good text, in a part that is taken out by its name; names of parts that hold more are not believed."""

LEAST_FRAME, FRAME_SHARE = 250, 0.25
"""Bytes of good text, and share of the page's, that a part called the article must hold."""

DEEPEST_SHARE = 0.75
LINK_BLOCK, LINK_PART, LINK_PART_GOOD = 0.8, 0.6, 100
SHORT_CELL = 80
_INHERITED = HEADING | ITEM | CELL | VERBATIM


def main_blocks(tree: Tree, *, tables: bool = True) -> tuple[bytes, float, int]:
    """The main text, a line for each block, as bytes of the page; how much of the page's good text is in the part it
    was taken from; and how many bytes of text the page has.

    What is not markup is as the page has it: entities stay. Without `tables` their cells are left out.
    """
    kinds = element_tables()[2]
    if not tables:
        kinds = np.where(kinds & CELL, kinds | SKIP, kinds)
    data = np.frombuffer(tree.data, np.uint8)
    of_elements = (tree.tag, tree.parent, tree.end, tree.names, tree.first_run, tree.end_run)
    of_runs = (tree.run_of, tree.run_at, tree.run_begin, tree.run_end)
    said = np.empty(len(data) + 4 * len(tree.run_of) + 4, np.uint8)
    length, share, text = _choose(data, kinds, of_elements, of_runs, said)
    return said[:length].tobytes(), share, text


@compiled
def _space(data: np.ndarray, place: int, end: int) -> int:
    """How many bytes of white space begin at `place`: also a no-break space, in UTF-8 or as an entity."""
    byte = data[place]
    if byte == 32 or 9 <= byte <= 13:
        return 1
    if byte == 0xC2 and place + 1 < end and data[place + 1] == 0xA0:
        return 2
    if byte == 38 and place + 6 <= end and data[place + 1] == 110 and data[place + 2] == 98 and data[place + 3] == 115:
        return 6 if data[place + 4] == 112 and data[place + 5] == 59 else 0  # &nbsp;
    return 0


@compiled
def _is_punctuation(data: np.ndarray, place: int) -> bool:
    """Whether a sign that prose has ends here, of Latin and its neighbours or of Chinese and Japanese."""
    byte = data[place]
    if byte < 0x80:
        return bool(byte == 33 or byte == 44 or byte == 46 or byte == 58 or byte == 59 or byte == 63)
    if place < 2:
        return False
    if data[place - 2] == 0xE3 and data[place - 1] == 0x80:
        return bool(byte == 0x81 or byte == 0x82)
    wide = data[place - 2] == 0xEF and data[place - 1] == 0xBC
    return bool(wide and (byte == 0x8C or byte == 0x81 or byte == 0x9F))


@compiled
def _place_elements(kinds: np.ndarray, of_elements: Any) -> Any:
    """Of each element: whether it is never main text, its block, whether it is in a link, inherited kinds, its row."""
    tag, parent, _, _, _, _ = of_elements
    count = len(tag)
    skipped, linked = np.zeros(count, np.bool_), np.zeros(count, np.bool_)
    block, row = np.zeros(count, np.int32), np.zeros(count, np.int32)
    inside = np.zeros(count, np.int32)
    for element in range(1, count):
        above, kind = parent[element], kinds[tag[element]]
        skipped[element] = skipped[above] or kind & SKIP != 0
        linked[element] = linked[above] or kind & LINK != 0
        block[element] = element if kind & BLOCK else block[above]
        row[element] = element if tag[element] == TR else row[above]
        inside[element] = inside[above] | kind & _INHERITED
    return skipped, block, linked, inside, row


@compiled
def _is_apart(kinds: np.ndarray, tag: np.ndarray, first: int, last: int) -> bool:
    """Whether a block begins among the elements first <= e < last."""
    apart = 0
    for element in range(first, last):
        apart |= kinds[tag[element]] & (BLOCK | BREAK)
    return apart != 0


@compiled
def _find_blocks(data: np.ndarray, kinds: np.ndarray, tag: np.ndarray, of_runs: Any, placed: Any) -> Any:
    """Of each block: its first and last run, its element, bytes without superfluous space, those in links, punctuation.

    (blocks, 6) int64.
    """
    run_of, run_at, run_begin, run_end = of_runs
    skipped, block, linked, _, _ = placed
    found = np.zeros((len(run_of), 6), np.int64)
    last, before, spaced = -1, 0, False
    for run in range(len(run_of)):
        element = run_of[run]
        if skipped[element]:
            continue
        length, punctuation, leading = 0, 0, False
        place, end = run_begin[run], run_end[run]
        gap = False
        while place < end:
            space = _space(data, place, end)
            if space:
                gap = True
                place += space
                continue
            if gap and length:
                length += 1
            elif gap:
                leading = True
            gap = False
            length += 1
            punctuation += _is_punctuation(data, place)
            place += 1
        apart = last < 0 or block[element] != found[last, 2] or _is_apart(kinds, tag, run_at[before], run_at[run])
        if not length:
            spaced = spaced or (gap and not apart)
            continue
        if apart:
            last += 1
            found[last, 0], found[last, 2] = run, block[element]
        elif spaced or leading:
            length += 1
        found[last, 1] = run
        found[last, 3] += length
        found[last, 4] += length if linked[element] else 0
        found[last, 5] += punctuation
        before, spaced = run, gap
    return found[: last + 1]


@compiled
def _sums(blocks: np.ndarray, values: np.ndarray, runs: int) -> np.ndarray:
    """What the blocks that begin before each run add up to."""
    sums = np.zeros(runs + 1)
    for index in range(len(blocks)):
        sums[blocks[index, 0] + 1] += values[index]
    return np.cumsum(sums)


@compiled
def _out_by_name(kinds: np.ndarray, of_elements: Any, sums: np.ndarray) -> np.ndarray:
    """Which elements are out: those whose names or kinds say so, unless most is in them, and what is inside."""
    tag, parent, _, names, first_run, end_run = of_elements
    out = np.zeros(len(tag), np.bool_)
    for element in range(1, len(tag)):
        kind, say = kinds[tag[element]], names[element]
        told = say & HIDDEN or kind & FORM or (say & (BESIDE | COMMENTS) and kind & NAMED)
        if told and (not kind & WHOLE or say & COMMENTS):
            held = sums[end_run[element]] - sums[first_run[element]]
            out[element] = held <= MOST_PRUNED * max(sums[-1], 1.0)
        out[element] = out[element] or out[parent[element]]
    return out


@compiled
def _frame(kinds: np.ndarray, of_elements: Any, out: np.ndarray, sums: np.ndarray) -> int:
    """The element that holds the article.

    The first of these of which one holds enough, and of several the one that holds most: what is called the article's
    body; an article; what may be a story; what is called the content; the innermost element with most of the text.
    """
    tag, _, _, names, first_run, end_run = of_elements
    best = np.full(4, -1, np.int64)
    most = np.zeros(4)
    innermost, total = 0, sums[-1]
    for element in range(len(tag)):
        if out[element]:
            continue
        kind, say = kinds[tag[element]], names[element]
        held = sums[end_run[element]] - sums[first_run[element]]
        if held >= DEEPEST_SHARE * total and total > 0:
            innermost = element
        frame = kind & FRAME != 0
        for rank in range(4):
            if rank == 0:
                fits = frame and say & BODY != 0
            elif rank == 1:
                fits = kind & ARTICLE != 0
            elif rank == 2:
                fits = frame and say & STORY != 0
            else:
                fits = (frame and say & CONTENT != 0) or tag[element] == MAIN
            if fits and held > most[rank]:
                best[rank], most[rank] = element, held
    for rank in range(4):
        if best[rank] >= 0 and most[rank] >= LEAST_FRAME and most[rank] >= FRAME_SHARE * total:
            return int(best[rank])
    return innermost


@compiled
def _keep_blocks(
    blocks: np.ndarray, frame: int, kinds: np.ndarray, of_elements: Any, out: np.ndarray, sums: np.ndarray, inside: Any
) -> np.ndarray:
    """Which blocks of the frame stay: not those of links, nor parts of links, nor headings that nothing follows."""
    tag, _, end, _, first_run, end_run = of_elements
    lengths = _sums(blocks, blocks[:, 3].astype(np.float64), len(sums) - 1)
    links = _sums(blocks, blocks[:, 4].astype(np.float64), len(sums) - 1)
    of_links = np.zeros(len(sums), np.bool_)
    for element in range(frame + 1, end[frame]):
        first, last = first_run[element], end_run[element]
        length = lengths[last] - lengths[first]
        if (
            kinds[tag[element]] & BLOCK
            and not out[element]
            and length > 0
            and links[last] - links[first] > LINK_PART * length
            and sums[last] - sums[first] < LINK_PART_GOOD
        ):
            of_links[first:last] = True
    kept = np.zeros(len(blocks), np.bool_)
    ended = True
    for index in range(len(blocks) - 1, -1, -1):
        run, element = blocks[index, 0], blocks[index, 2]
        if not first_run[frame] <= run < end_run[frame] or out[element] or of_links[run]:
            continue
        if blocks[index, 4] > LINK_BLOCK * blocks[index, 3] or (ended and inside[element] & HEADING):
            continue
        kept[index] = True
        ended = False
    return kept


@compiled
def _write_block(
    data: np.ndarray, first: int, last: int, of_runs: Any, skipped: Any, verbatim: bool, said: Any, at: int
) -> int:
    """Write a block's text to `said` from `at` on, white space as one space unless it is verbatim; returns its end."""
    run_of, _, run_begin, run_end = of_runs
    begun, gap = at, False
    for run in range(first, last + 1):
        if skipped[run_of[run]]:
            continue
        place, end = run_begin[run], run_end[run]
        while place < end:
            space = 0 if verbatim else _space(data, place, end)
            if space:
                gap = True
                place += space
                continue
            if gap and at > begun:
                said[at] = 32
                at += 1
            gap = False
            said[at] = data[place]
            at += 1
            place += 1
    return at


@compiled
def _choose(data: np.ndarray, kinds: np.ndarray, of_elements: Any, of_runs: Any, said: Any) -> tuple[int, float, int]:
    """Write the main text to `said`; returns its length, the share of the page's good text that its frame holds, and
    how much text there is."""
    tag = of_elements[0]
    placed = _place_elements(kinds, of_elements)
    skipped, _, _, inside, row = placed
    blocks = _find_blocks(data, kinds, tag, of_runs, placed)
    good = np.zeros(len(blocks))
    for index in range(len(blocks)):
        length, linked = blocks[index, 3], blocks[index, 4]
        prose = length >= LEAST_GOOD and linked < MOST_LINKED * length and blocks[index, 5] > 0
        if prose and not inside[blocks[index, 2]] & HEADING:
            good[index] = length - linked
    runs = len(of_runs[0])
    out = _out_by_name(kinds, of_elements, _sums(blocks, good, runs))
    for index in range(len(blocks)):
        if out[blocks[index, 2]]:
            good[index] = 0
    sums = _sums(blocks, good, runs)
    frame = _frame(kinds, of_elements, out, sums)
    kept = _keep_blocks(blocks, frame, kinds, of_elements, out, sums, inside)
    at, before = 0, -1
    for index in range(len(blocks)):
        if not kept[index]:
            continue
        element = blocks[index, 2]
        if at:
            cells = before >= 0 and inside[element] & inside[blocks[before, 2]] & CELL
            short = cells and max(blocks[index, 3], blocks[before, 3]) < SHORT_CELL
            if short and row[element] == row[blocks[before, 2]] and element != blocks[before, 2]:
                said[at], said[at + 1], said[at + 2] = 32, 124, 32
                at += 3
            else:
                said[at] = 10
                at += 1
        verbatim = inside[element] & VERBATIM != 0
        at = _write_block(data, blocks[index, 0], blocks[index, 1], of_runs, skipped, verbatim, said, at)
        before = index
    first, last = of_elements[4][frame], of_elements[5][frame]
    return at, (sums[last] - sums[first]) / max(sums[-1], 1.0), blocks[:, 3].sum()
