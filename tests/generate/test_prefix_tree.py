"""The tree of shared beginnings, and what a plan makes of it: every token of every row where it belongs, once read."""

from hypothesis import given
from hypothesis import strategies as st

from ensue.generate.prefix_plan import Limits, Pass, plan
from ensue.generate.prefix_tree import Node, prefix_tree

rows_of_few_tokens = st.sets(st.lists(st.integers(0, 2), min_size=1, max_size=12).map(tuple), min_size=1, max_size=20)
rows_of_words = st.sets(
    st.lists(st.sampled_from([(0,) * 4, (1, 2), (0, 1, 2, 0), (2,)]), min_size=1, max_size=6).map(lambda x: sum(x, ())),
    min_size=1,
    max_size=20,
)


@given(rows=rows_of_few_tokens | rows_of_words)
def test_every_beginning_is_in_the_tree_once(rows: set[tuple[int, ...]]) -> None:
    nodes = prefix_tree(sorted(rows))
    beginnings = {row[:length] for row in rows for length in range(1, len(row) + 1)}
    assert sum(node.length for node in nodes) == len(beginnings)
    assert nodes[0].length + nodes[0].below == len(beginnings)
    for place, node in enumerate(nodes):
        assert [nodes[child].parent for child in node.children] == [place] * len(node.children)
        assert all(nodes[child].begin == node.end for child in node.children)
        assert len({sorted(rows)[row][: node.end] for row in range(node.first, node.last)}) == 1


def test_a_tree_as_deep_as_its_rows_are_long() -> None:
    nodes = prefix_tree([tuple(range(length)) for length in range(1, 1200)])
    assert [node.length for node in nodes] == [1] * 1199


@given(
    rows=rows_of_few_tokens | rows_of_words,
    batch_tokens=st.integers(1, 60),
    room=st.integers(0, 12),
    pass_cost=st.sampled_from([0, 3, 64]),
)
def test_a_plan_reads_every_token_once_after_its_own_beginning(
    rows: set[tuple[int, ...]], batch_tokens: int, room: int, pass_cost: int
) -> None:
    ordered = sorted(rows)
    nodes = prefix_tree(ordered)
    read: list[int] = []
    held: tuple[int, ...] = ()
    for step in plan(nodes, Limits(batch_tokens, room, 24, pass_cost)):
        held = held[: step.trunk]
        assert len(held) == step.trunk
        read += check_rows(ordered, nodes, step, held)
        if step.keep:
            [[piece]] = step.rows
            held += ordered[piece.row][piece.begin : piece.end]
            assert len(held) <= room
        elif len(step.rows) > 1:
            longest = max(sum(piece.length for piece in row) for row in step.rows)
            assert longest * len(step.rows) <= batch_tokens
    assert sorted(read) == list(range(len(nodes)))


def check_rows(rows: list[tuple[int, ...]], nodes: list[Node], step: Pass, held: tuple[int, ...]) -> list[int]:
    """Every piece goes on from what its tokens follow, and holds the nodes that are read out of it: those nodes."""
    read = []
    for row in step.rows:
        for place, piece in enumerate(row):
            before, after = held, piece.after
            way = []
            while after >= 0:
                assert after < place
                way.append(row[after])
                after = row[after].after
                place = row.index(way[-1])
            for earlier in reversed(way):
                before += rows[earlier.row][earlier.begin : earlier.end]
            assert before == rows[piece.row][: piece.begin]
            for node in piece.nodes:
                assert nodes[node].first <= piece.row < nodes[node].last
                assert piece.begin <= nodes[node].begin <= nodes[node].end <= piece.end
            read += piece.nodes
    return read


def test_a_header_is_run_once_and_its_items_in_rows() -> None:
    header = tuple(range(300))
    rows = sorted((*header, item, *range(400, 430), choice) for item in range(900, 940) for choice in range(4))
    [kept, *others] = plan(prefix_tree(rows), Limits(8192, 1024, 768))
    assert (kept.keep, kept.rows[0][0].end) == (True, 300)
    assert sum(piece.length for step in others for row in step.rows for piece in row) == 40 * (31 + 4)


def test_a_beginning_that_saves_too_little_is_computed_again() -> None:
    rows = sorted((0, item, *range(200)) for item in range(1, 20))
    [step] = plan(prefix_tree(rows), Limits(8192, 1024, 768))
    assert step.plain
    assert len(step.rows) == 19
