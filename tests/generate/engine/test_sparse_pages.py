"""Sparse layers have pages for what can still be seen, no more, and say the same as over all keys and values."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ensue.core.native import INFERENCE, why_no_kernels
from ensue.generate.engine.drafts import PromptLookup
from ensue.generate.engine.engine import Engine
from ensue.generate.engine.groups import groups_of
from ensue.generate.engine.pages import PAGE
from ensue.generate.engine.passes import PackedPasses, PlainPasses
from ensue.generate.engine.requests import Request, Told
from ensue.generate.packed import PackedModel
from ensue.generate.settings import Sampling
from ensue.model.config import GPTConfig
from ensue.model.gpt import GPT
from ensue.model.patterns import Banded, Dense, Fixed, Pattern, Strided

CONTEXT, VOCAB, HEADS = 150, 23, 3
TOLERANCE = 1e-5

strides = st.one_of(st.integers(1, 40), st.sampled_from([16, 32]))
parts = st.sampled_from(["both", "first", "second"])
strided = st.builds(Strided, strides, parts)
fixed = strides.flatmap(
    lambda stride: st.builds(Fixed, st.just(stride), st.integers(1, max(1, stride // 2)), parts, st.booleans())
)
banded = st.one_of(st.builds(Banded, st.integers(1, 50)), st.builds(Strided, strides, st.just("first")))
patterns = st.lists(st.one_of(fixed, fixed, strided, banded, st.just(Dense())), min_size=1, max_size=3).map(tuple)


def config_of(
    patterns: tuple[Pattern, ...], *, context: int = CONTEXT, heads: int = HEADS, head_width: int = 8
) -> GPTConfig:
    return GPTConfig(
        vocab=VOCAB, context=context, layers=len(patterns), width=head_width * heads, heads=heads, patterns=patterns
    )


def model_of(patterns: tuple[Pattern, ...], *, head_width: int = 8) -> GPT:
    """A model that minds what it sees."""
    model = GPT.build(config_of(patterns, head_width=head_width), 1).eval()
    torch.manual_seed(2)
    for parameter in model.parameters():
        parameter.data.add_(torch.randn_like(parameter) * 0.6 / model.config.width**0.5)
    return model


class Heard:
    """What the engine told of a request."""

    def __init__(self, request: Request) -> None:
        self.request = request
        self.prompt: list[Told] = []
        self.new: list[Told] = []

    def check(self, model: GPT) -> None:
        """All of it is what one forward pass over the text says."""
        tokens = [*self.request.tokens, *(each.token for each in self.new)]
        with torch.no_grad():
            logs = model(torch.tensor([tokens]))[0].log_softmax(-1)
        first = len(self.request.tokens)
        told = [*enumerate(self.prompt), *enumerate(self.new, start=first)]
        for place, each in told[1:] if self.prompt else told:
            assert each.token == tokens[place]
            assert each.nats == pytest.approx(float(logs[place - 1, each.token]), abs=TOLERANCE)

    @property
    def whole(self) -> bool:
        read = len(self.prompt) == len(self.request.tokens) if self.request.of_prompt else not self.prompt
        return read and len(self.new) == self.request.most


@st.composite
def requests(draw: st.DrawFn) -> Request:
    prompt = draw(st.integers(1, CONTEXT - 1))
    return Request(
        tuple(np.random.default_rng(draw(st.integers(0, 3))).integers(0, 5, prompt).tolist()),
        most=draw(st.integers(1, min(25, CONTEXT - prompt))),
        sampling=draw(st.sampled_from([Sampling(), Sampling(0.9)])),
        of_prompt=draw(st.booleans()),
    )


@settings(max_examples=40)
@given(patterns=patterns, data=st.data())
def test_log_probabilities_are_those_of_a_forward_pass(patterns: tuple[Pattern, ...], data: st.DataObject) -> None:
    """Prompts in pieces, several guesses at once, any company, and requests that are cancelled, with room for little
    more than one long request."""
    model = model_of(patterns)
    span = data.draw(st.integers(1, 40))
    more = data.draw(st.integers(0, 12))
    pages = [group.pages_for(CONTEXT, span) + more for group in groups_of(model.config)]
    drafter = data.draw(st.sampled_from([None, PromptLookup(longest=2, shortest=1, most=7)]))
    engine = Engine(PlainPasses(model, pages), most=4, pass_tokens=span, drafter=drafter)
    left = data.draw(st.lists(requests(), min_size=1, max_size=4))
    heard: dict[int, Heard] = {}
    cancelled: set[int] = set()
    steps = 0
    while left or engine.going or engine.waiting:
        if left and (steps % 3 == 0 or not (engine.going or engine.waiting)):
            request = left.pop()
            heard[engine.submit(request)] = Heard(request)
        if steps % 7 == 6 and data.draw(st.sampled_from([False, False, True])):
            cancelled.add(data.draw(st.sampled_from(sorted(heard))))
            engine.cancel(max(cancelled))
        for event in engine.step():
            heard[event.request].prompt.extend(event.prompt)
            heard[event.request].new.extend(event.new)
        steps += 1
    for number, each in heard.items():
        each.check(model)
        assert each.whole or number in cancelled
    assert engine.pool.available == sum(pages)


def needed(pattern: Pattern, length: int, *, span: int, heads: int) -> tuple[int, int]:
    """Pages of near positions and of summaries, counted out: whatever pass comes next, of those that are visible to its
    queries or later ones, and those that it computes."""
    query, key, head = np.ogrid[:length, :length, :heads]
    near = pattern
    if isinstance(pattern, Fixed):
        near = Banded(1) if pattern.part == "second" else replace(pattern, part="first")
    last, last_near = (np.where(each.visible(query, key, head), query, -1).max(0) for each in (pattern, near))
    most, place = 0, np.arange(length)
    summaries = np.zeros((length, heads), dtype=bool)
    for start in range(length):
        before = place < start
        is_near = before & (last_near >= start).any(1)
        computed = (place >= start) & (place < start + span)
        most = max(most, len(set(place[is_near | computed] // PAGE)))
        summaries |= (before & ~is_near)[:, None] & (last >= start)
    return most, -(-int(summaries.sum(0).max()) // PAGE)


@settings(max_examples=150)
@given(
    pattern=st.one_of(fixed, banded),
    context=st.integers(1, 200),
    length=st.integers(1, 200),
    span=st.integers(1, 60),
    heads=st.integers(1, 4),
)
def test_a_request_has_the_pages_that_its_patterns_need(
    pattern: Pattern, context: int, length: int, span: int, heads: int
) -> None:
    """Those of the definition, or one for each 16 tokens where that is no more for a request of the whole context."""
    length = min(length, context)
    groups = groups_of(config_of((pattern,), context=context, heads=heads))
    found = sum(group.pages_for(length, span) for group in groups)
    whole = -(-length // PAGE)
    drops = sum(needed(pattern, context, span=span, heads=heads)) < -(-context // PAGE)
    near, far = needed(pattern, length, span=span, heads=heads)
    assert found == (near + far if drops and near < whole else whole)


def long_request() -> Request:
    return Request(tuple(np.random.default_rng(0).integers(0, VOCAB, 100).tolist()), most=50, of_prompt=True)


def hear(engine: Engine, requests: list[Request]) -> list[Heard]:
    """What is told of each request, served beside the others to its end."""
    heard = {engine.submit(request): Heard(request) for request in requests}
    while engine.going or engine.waiting:
        for event in engine.step():
            heard[event.request].prompt.extend(event.prompt)
            heard[event.request].new.extend(event.new)
    assert all(each.whole for each in heard.values())
    return list(heard.values())


@pytest.mark.parametrize(
    ("pattern", "pages"),
    [
        (Dense(), (10,)),
        (Banded(17), (3,)),
        (Strided(16, "first"), (3,)),
        (Strided(16, "second"), (10,)),
        (Strided(16, "both"), (10,)),
        (Fixed(16, 2, "first"), (2,)),
        (Fixed(16, 2, "both"), (2, 2)),
        (Fixed(16, 2, "second"), (2, 2)),
        (Fixed(24, 3, "both", spread=True), (3, 2)),
    ],
    ids=str,
)
def test_a_long_request_fits_the_pages_that_it_needs_and_no_fewer(pattern: Pattern, pages: tuple[int, ...]) -> None:
    model = model_of((pattern, pattern))
    request = long_request()
    hear(Engine(PlainPasses(model, pages), pass_tokens=8), [request])[0].check(model)
    for group in range(len(pages)):
        fewer = [count - (number == group) for number, count in enumerate(pages)]
        with pytest.raises(ValueError, match="more than the whole cache"):
            Engine(PlainPasses(model, fewer), pass_tokens=8).submit(request)


@pytest.mark.skipif(why_no_kernels(INFERENCE) is not None, reason="no packed kernels here")
def test_the_packed_pass_keeps_a_band_or_a_block() -> None:
    """In the same few pages, alone and beside others."""
    patterns = (Strided(16, "first"), Fixed(16, 2, "first"), Fixed(24, 1, "first"))
    model = model_of(patterns, head_width=64)
    passes = PackedPasses(PackedModel.of(model, "fp32"), (4, 5, 6))
    requests = [long_request(), Request((1, 2, 3), most=40), long_request()]
    for each in hear(Engine(passes, pass_tokens=8), requests):
        each.check(model)


def test_layers_that_keep_the_same_share_pages() -> None:
    """A strided first set is a band; a fixed one sees its block, with or without summaries beside it."""
    patterns = (Banded(9), Dense(), Strided(8, "first"), Strided(4), Fixed(9, 1, "first"), Fixed(9, 1), Banded(150))
    groups = groups_of(config_of(patterns))
    assert [(group.layers, group.far) for group in groups] == [
        ((1, 3, 6), False),
        ((0, 2), False),
        ((4,), False),
        ((5,), False),
        ((5,), True),
    ]


def test_short_requests_that_drop_nothing_share_their_beginnings() -> None:
    """Beside a long one, whose summaries are in pages of their own, as they are read in the same pass."""
    model = model_of((Dense(), Fixed(24, 2)))
    words = np.random.default_rng(1).integers(0, VOCAB, 140).tolist()
    short = [Request((*words[:32], number), most=6) for number in range(3)]
    long = Request(tuple(words), most=8)
    engine = Engine(PlainPasses(model, (30, 20, 4)), pass_tokens=24)
    for each in hear(engine, [*short, long, long]):
        each.check(model)
    assert engine.reused_tokens == 2 * 32
