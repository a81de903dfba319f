"""Requests that join and leave at any step get what each would get alone, from either kind of pass."""

import random
from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ensue.core.native import INFERENCE, why_no_kernels
from ensue.generate.decode import generate_tokens, stream_tokens
from ensue.generate.engine.drafts import DraftModel, PromptLookup
from ensue.generate.engine.engine import Engine
from ensue.generate.engine.groups import groups_of
from ensue.generate.engine.pages import PAGE
from ensue.generate.engine.passes import PackedPasses, Passes, PlainPasses
from ensue.generate.engine.requests import Request
from ensue.generate.packed import PackedModel
from ensue.generate.sampling import choose, uniform
from ensue.generate.settings import Sampling
from ensue.model.config import GPTConfig
from ensue.model.gpt import GPT
from ensue.model.patterns import Banded, Dense

PAGES = 24
ROOM = (24, 16)
"""Pages of the dense layers, and of the banded ones."""

CONFIG = GPTConfig(vocab=37, context=80, layers=2, width=64, heads=2, patterns=(Dense(), Banded(19)))


@pytest.fixture(scope="module")
def model() -> GPT:
    """With weights large enough for texts that do not just repeat one token."""
    model = GPT.build(CONFIG, 1).eval()
    torch.manual_seed(2)
    for parameter in model.parameters():
        parameter.data.add_(torch.randn_like(parameter) * 0.15)
    return model


@pytest.fixture(scope="module", params=["plain", "packed"])
def passes(request: pytest.FixtureRequest, model: GPT) -> Callable[[], Passes]:
    if request.param == "plain":
        return lambda: PlainPasses(model, ROOM)
    if why_no_kernels(INFERENCE) is not None:
        pytest.skip(f"no packed kernels here: {why_no_kernels(INFERENCE)}")
    packed = PackedModel.of(model, "fp32")
    return lambda: PackedPasses(packed, ROOM)


def alone(model: GPT, request: Request) -> list[int]:
    """What `stream_tokens`, which shares nothing with the engine but the model and the draw, writes."""
    steps = stream_tokens(
        model,
        [list(request.tokens)],
        sampling=request.sampling,
        max_new_tokens=request.most,
        stop_tokens=request.stop,
        seeds=[request.seed],
    )
    return [token for [(_, token)] in steps]


def is_as_alone(model: GPT, request: Request, written: list[int]) -> bool:
    """Token for token; but where rounding alone decides between two, either may stand, and what ensues from it."""
    for place, (one, other) in enumerate(zip(written, expected := alone(model, request), strict=False)):
        if one != other:
            tokens = torch.tensor([[*request.tokens, *expected[:place]]])
            with torch.no_grad():
                logits = model(tokens)[:, -1].double().expand(100, -1)
            rounded = logits + 1e-5 * torch.randn(logits.shape, generator=torch.Generator().manual_seed(0))
            uniforms = [uniform(request.seed, place)] * 100
            return one in choose(rounded, request.sampling, histories=[[]] * 100, uniforms=uniforms)
    return len(written) == len(expected)


requests = st.builds(
    Request,
    tokens=st.lists(st.integers(0, 5), min_size=1, max_size=50).map(tuple),
    most=st.integers(1, 30),
    sampling=st.sampled_from([Sampling(), Sampling(0.9), Sampling(1.3, top_k=7), Sampling(0.8, top_p=0.7)]),
    seed=st.integers(0, 9),
    stop=st.sampled_from([frozenset(), frozenset({3, 30})]),
)


@settings(max_examples=15)
@given(data=st.data())
def test_every_request_gets_what_it_would_get_alone(model, passes, data: st.DataObject) -> None:
    wanted = data.draw(st.lists(requests, min_size=1, max_size=7))
    engine = Engine(
        passes(),
        most=data.draw(st.integers(1, 5)),
        pass_tokens=data.draw(st.integers(1, 40)),
        drafter=data.draw(st.sampled_from([None, PromptLookup(longest=3, shortest=1, most=5)])),
    )
    left = list(wanted)
    written: dict[int, list[int]] = {}
    ended: dict[int, str] = {}
    owners: dict[int, Request] = {}
    while left or engine.going or engine.waiting:
        for _ in range(data.draw(st.integers(0, 3)) if engine.going or engine.waiting else 1):
            if left:
                request = left.pop()
                owners[engine.submit(request)] = request
        for event in engine.step():
            assert event.request not in ended
            written.setdefault(event.request, []).extend(told.token for told in event.new)
            if event.finished:
                ended[event.request] = event.finished
    assert set(ended) == set(owners)
    for number, request in owners.items():
        assert is_as_alone(model, request, written[number])
        assert ended[number] == ("stop" if written[number][-1] in request.stop else "length")
    assert engine.pool.available == sum(ROOM)


def test_log_probabilities_are_those_of_a_forward_pass(model, passes) -> None:
    prompt = tuple(random.Random(0).choices(range(37), k=40))
    request = Request(prompt, most=12, of_prompt=True, likeliest=4)
    engine = Engine(passes(), pass_tokens=16)
    number, told = engine.submit(request), []
    while engine.going or engine.waiting:
        for event in engine.step():
            assert event.request == number
            told.extend((*event.prompt, *event.new))
    tokens = [each.token for each in told]
    assert tokens[:40] == list(prompt)
    with torch.no_grad():
        logs = model(torch.tensor([tokens]))[0].log_softmax(-1)
    assert told[0].nats is None
    for place, each in enumerate(told[1:]):
        assert each.nats == pytest.approx(float(logs[place, each.token]), abs=1e-5)
        top = logs[place].topk(4)
        assert [token for token, _ in each.likeliest] == top.indices.tolist()
        assert each.rank == int((logs[place] > logs[place, each.token]).sum())


def test_a_shared_beginning_is_computed_once(model, passes) -> None:
    header = tuple(random.Random(1).choices(range(37), k=3 * PAGE))
    many = [Request((*header, number), most=4) for number in range(6)]
    engine = Engine(passes())
    found = engine.run(many)
    assert [[told.token for told in each] for each in found] == [alone(model, request) for request in many]
    assert engine.read_tokens == len(header) + 6 + 6 * 3
    assert engine.reused_tokens == 5 * len(header)
    again = engine.run(many[:1])
    assert [told.token for told in again[0]] == alone(model, many[0])
    assert engine.reused_tokens == 6 * len(header)


def test_banded_layers_keep_what_their_window_shows(model) -> None:
    """A request as long as the context takes five pages of the dense layer and three of the banded one."""
    request = Request(tuple(random.Random(5).choices(range(37), k=50)), most=30)
    engine = Engine(PlainPasses(model, (5, 3)), pass_tokens=10)
    (found,) = engine.run([request])
    assert [told.token for told in found] == alone(model, request)
    with pytest.raises(ValueError, match="more than the whole cache"):
        Engine(PlainPasses(model, (5, 2)), pass_tokens=10).submit(request)


def test_guesses_that_are_right_save_passes(model, passes) -> None:
    """A text that has its own continuation in it: looked up, it takes fewer steps and says the same."""
    start = tuple(random.Random(3).choices(range(37), k=20))
    (written,) = generate_tokens(model, [start], sampling=Sampling(), max_new_tokens=20)
    request = Request((*start, *written, *start), most=16)
    steps = {}
    for name, drafter in (("without", None), ("with", PromptLookup())):
        engine = Engine(passes(), drafter=drafter)
        engine.submit(request)
        steps[name], tokens = 0, []
        while engine.going or engine.waiting:
            steps[name] += 1
            tokens += [told.token for event in engine.step() for told in event.new]
        assert tokens == alone(model, request)
    assert engine.accepted_tokens
    assert steps["with"] < steps["without"]


def test_a_draft_model_changes_nothing_but_the_number_of_passes(model, passes) -> None:
    """The model as its own draft guesses right each time; another one does not."""
    other = GPT.build(GPTConfig(vocab=37, context=60, layers=1, width=64, heads=2), 5).eval()
    request = Request(tuple(range(20)), most=25, sampling=Sampling(0.0))
    sampled = Request(tuple(range(9)), most=40, sampling=Sampling(0.7), seed=4)
    for small, right in ((model, True), (other, False)):
        drafter = DraftModel(Engine(PlainPasses(small, [PAGES] * len(groups_of(small.config)))), most=4)
        engine = Engine(passes(), drafter=drafter)
        found = engine.run([request, sampled])
        assert [[told.token for told in each] for each in found] == [alone(model, request), alone(model, sampled)]
        assert not right or engine.accepted_tokens > 15


def test_a_request_that_is_cancelled_gives_its_pages_back(passes) -> None:
    engine = Engine(passes(), most=2)
    numbers = [engine.submit(Request(tuple(range(20)), most=40, seed=seed)) for seed in range(3)]
    engine.step()
    for number in numbers:
        engine.cancel(number)
        engine.cancel(number)
    assert (engine.going, engine.waiting, engine.pool.available) == (0, 0, sum(ROOM))
    assert engine.step() == []


def test_biases_and_penalties_change_what_is_written(model, passes) -> None:
    engine = Engine(passes())
    prompt = (1, 2, 3)
    (plain,), (biased,), (penalised,) = (
        engine.run([request])
        for request in (
            Request(prompt, most=12),
            Request(prompt, most=12, bias={9: 100.0}),
            Request(prompt, most=12, presence=100.0),
        )
    )
    assert [told.token for told in biased] == [9] * 12
    assert len({told.token for told in penalised}) == 12
    assert [told.token for told in plain] == alone(model, Request(prompt, most=12))


def test_tokens_that_nobody_scores_are_the_same(model, passes) -> None:
    scored = Request((1, 2, 3), most=12, sampling=Sampling(0.8), seed=2, likeliest=2)
    plain = Request((1, 2, 3), most=12, sampling=Sampling(0.8), seed=2, scored=False)
    one, other = Engine(passes()).run([scored, plain])
    assert [told.token for told in one] == [told.token for told in other] == alone(model, plain)
    assert all(told.nats is not None and len(told.likeliest) == 2 for told in one)
    assert all(told.nats is None and not told.likeliest for told in other)


def test_a_constraint_allows_what_it_allows(passes) -> None:
    def even(new) -> torch.Tensor:
        return torch.arange(37) % 2 == len(new) % 2

    engine = Engine(passes())
    (told,) = engine.run([Request((1, 2, 3), most=10, sampling=Sampling(1.0), constraint=even)])
    assert [each.token % 2 for each in told] == [0, 1] * 5


@pytest.mark.parametrize(
    ("request_", "said"),
    [
        (Request(()), "no tokens"),
        (Request((37,)), "outside this model's vocabulary"),
        (Request((1,) * 70, most=11), "than this model's context"),
    ],
)
def test_what_cannot_be_served_is_refused_at_once(model, passes, request_: Request, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        Engine(passes()).submit(request_)
    with pytest.raises(ValueError, match="more than the whole cache"):
        Engine(PlainPasses(model, (2, 2))).submit(Request((1,) * 30, most=10))
