"""A chain of receipts: any row that is changed, taken out, put in or moved is found, and the first such row named."""

import copy
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ensue.core.receipts import START, Receipts, first_broken
from ensue.core.run import read_rows


@pytest.fixture(scope="module")
def rows(tmp_path_factory):
    """Eight steps, and what was saved after the third, told after the fifth."""
    receipts = Receipts(tmp_path_factory.mktemp("chain") / "receipts.jsonl")
    assert receipts.head == START
    heads = {}
    for step in range(1, 9):
        receipts.add({"step": step, "loss": 1 / step, "samples": f"{step:x}"})
        heads[step] = receipts.head
        if step == 5:
            receipts.add_leaf({"step": 3, "saved": {"file": ["ab", "cd"]}}, on=heads[3])
    return read_rows(receipts.path)


def test_an_untouched_chain_holds(rows):
    assert first_broken(rows) is None
    assert [row["step"] for row in rows] == [1, 2, 3, 4, 5, 3, 6, 7, 8]


@settings(max_examples=60)
@given(st.data())
def test_any_change_is_found_at_its_row(rows, data):
    changed = copy.deepcopy(rows)
    place = data.draw(st.integers(0, len(rows) - 2))
    row = changed[place]
    kind = data.draw(st.sampled_from(["value", "name", "removed", "doubled", "swapped"]))
    if kind == "value":
        name = data.draw(st.sampled_from(sorted(row)))
        row[name] = {"step": 4.5, "loss": 0.123, "saved": {}}.get(name, "0" * 32)
    elif kind == "name":
        row["other"] = row.pop("loss", None)
    elif kind == "removed" and "chain" in row:
        del changed[place]
    elif kind == "doubled" and "chain" in row:
        changed.insert(place, row)
    elif kind == "swapped" and "chain" in row and "chain" in changed[place + 1]:
        changed[place], changed[place + 1] = changed[place + 1], row
    else:
        return
    first = first_broken(changed)
    assert first is not None, kind
    assert first in (row["step"], int(row["step"]), row["step"] + 1)


def test_rows_of_steps_that_are_run_again_are_dropped_and_the_chain_goes_on(tmp_path, rows):
    path = tmp_path / "receipts.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows) + '{"step": 9, "lo')
    receipts = Receipts(path)
    assert receipts.head == rows[-1]["chain"]
    receipts.forget_after(4)
    assert receipts.head == rows[3]["chain"]
    for row in rows[4:]:
        if "chain" in row:
            receipts.add({name: value for name, value in row.items() if name != "chain"})
    assert receipts.head == rows[-1]["chain"], "the same steps give the same chain"
    assert first_broken(read_rows(path)) is None
