"""Pages are never lost or lent twice, whatever readers do, and what is given up was unused for longest."""

from hypothesis import given, settings
from hypothesis import strategies as st

from ensue.generate.engine.pages import PAGE, PagePool


class Reader:
    """A request as the engine treats the pool."""

    def __init__(self, pool: PagePool, tokens: list[int], *, longer: int) -> None:
        self.pool, self.tokens = pool, tokens
        self.shared = list(pool.prefix_of(tokens).pages)
        pool.read(self.shared)
        needed = -(-(len(tokens) + longer) // PAGE) - len(self.shared)
        self.begun = needed <= pool.available
        if not self.begun:
            pool.release(self.shared)
            return
        self.pages = [*self.shared, *pool.take(needed)]
        pool.announce(tokens, self.pages)

    def finish(self) -> None:
        self.pool.finish(self.pages[: len(self.tokens) // PAGE])
        self.leave()

    def leave(self) -> None:
        self.pool.release(self.pages)


def check(pool: PagePool, readers: list[Reader]) -> None:
    lent = {page for reader in readers for page in reader.pages}
    assert pool.available == pool.count - len(lent)
    owned = [page for reader in readers for page in reader.pages[len(reader.shared) :]]
    assert len(owned) == len(set(owned))


@settings(max_examples=150)
@given(data=st.data())
def test_pages_are_never_lost_or_lent_twice(data: st.DataObject) -> None:
    pool = PagePool(data.draw(st.integers(4, 12)))
    readers: list[Reader] = []
    for _ in range(data.draw(st.integers(1, 25))):
        action = data.draw(st.sampled_from(["begin", "begin", "finish", "leave"]))
        if action == "begin":
            words = data.draw(st.lists(st.integers(0, 1), min_size=1, max_size=3))
            tokens = [word for word in words for _ in range(PAGE)][: data.draw(st.integers(1, 3 * PAGE))]
            reader = Reader(pool, tokens, longer=data.draw(st.integers(0, PAGE)))
            if reader.begun:
                readers.append(reader)
        elif readers:
            reader = readers.pop(data.draw(st.integers(0, len(readers) - 1)))
            reader.finish() if action == "finish" else reader.leave()
        check(pool, readers)
    for reader in readers:
        reader.finish()
    assert pool.available == pool.count
    assert len(pool.take(pool.count)) == pool.count


def test_what_was_unused_for_longest_is_given_up_first() -> None:
    pool = PagePool(4)
    for word in (1, 2):
        Reader(pool, [word] * (PAGE + 1), longer=0).finish()
    Reader(pool, [1] * (PAGE + 1), longer=0).finish()  # read again
    pool.take(3)
    assert pool.prefix_of([1] * (PAGE + 1)).pages
    assert not pool.prefix_of([2] * (PAGE + 1)).pages


def test_a_beginning_that_is_being_computed_is_waited_for() -> None:
    pool = PagePool(4)
    tokens = [7] * (2 * PAGE)
    first = Reader(pool, tokens, longer=0)
    assert pool.prefix_of(tokens).pending
    pool.finish(first.pages[:1])
    assert pool.prefix_of(tokens).pages == tuple(first.pages[:1])
    first.leave()
    assert not pool.prefix_of(tokens).pending
