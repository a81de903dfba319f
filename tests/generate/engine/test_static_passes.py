"""The static step beside the plain pass it stands for, in any company; on a GPU, recordings beside the step itself."""

import copy
import random
from collections.abc import Callable, Sequence

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from ensue.generate.engine.drafts import PromptLookup
from ensue.generate.engine.engine import Engine
from ensue.generate.engine.groups import groups_of
from ensue.generate.engine.pages import PAGE
from ensue.generate.engine.passes import Passes, PlainPasses, Tokens
from ensue.generate.engine.requests import Request
from ensue.generate.engine.static_passes import StaticPasses, Step, merged
from ensue.generate.engine.static_step import FEWEST_PAGES, shape_for, why_not_static
from ensue.generate.screen import Greatest
from ensue.generate.settings import Sampling
from ensue.model.config import GPTConfig
from ensue.model.gpt import GPT
from ensue.model.patterns import Banded, Dense, Fixed, Strided

SHAPE = {"vocab": 61, "context": 300, "layers": 3, "width": 48, "heads": 3}
CONFIGS = {
    "gpt2": GPTConfig(**SHAPE),
    "gpt": GPTConfig(**SHAPE, norm_place="post", residual_init="same"),
    "gpt3": GPTConfig(**SHAPE, patterns=(Dense(), Banded(19), Banded(70))),
    "local": GPTConfig(**SHAPE, patterns=(Banded(33),)),
    "blocks": GPTConfig(**SHAPE, patterns=(Fixed(40, 8, "first"), Strided(24, "second"), Dense())),
    "modern": GPTConfig(
        **SHAPE,
        norm="rms",
        positions="rotary",
        mlp="swiglu",
        mlp_width=64,
        qk_norm=True,
        bias=False,
        qkv_bias=False,
        tied=False,
        patterns=(Banded(50), Dense()),
    ),
}
ROOM = 40
"""Pages of each group: fewer than all requests of a test need, so that they wait for one another."""

needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="recording needs a GPU, and torch sees none here")


def build(config: GPTConfig) -> GPT:
    """With weights large enough for texts that do not just repeat one token."""
    model = GPT.build(config, 1).eval()
    generator = torch.Generator().manual_seed(2)
    for parameter in model.parameters():
        parameter.data.add_(torch.randn(parameter.shape, generator=generator) * 0.1)
    return model


@pytest.fixture(scope="module", params=CONFIGS)
def model(request: pytest.FixtureRequest) -> GPT:
    return build(CONFIGS[request.param])


@pytest.fixture(scope="module")
def on_gpu() -> GPT:
    return build(CONFIGS["gpt3"]).to("cuda")


def room(model: GPT) -> list[int]:
    return [ROOM] * len(groups_of(model.config))


def requests_of(seed: int, count: int = 7) -> list[Request]:
    """Prompts and texts of very different lengths, greedy and sampled."""
    draw = random.Random(seed)
    samplings = (Sampling(), Sampling(0.9), Sampling(1.2, top_k=7), Sampling(0.8, top_p=0.8))
    lengths = [120, 1, 15, 16, 90, 33, 250, 2, 17]
    return [
        Request(
            tuple(draw.choices(range(61), k=lengths[number % len(lengths)])),
            most=draw.choice([1, 5, 14, 20]),
            sampling=samplings[number % 4],
            seed=number,
        )
        for number in range(count)
    ]


def written(passes: Passes, requests: Sequence[Request], *, pass_tokens: int = 64) -> list[list[int]]:
    told = Engine(passes, most=5, pass_tokens=pass_tokens).run(requests)
    return [[each.token for each in one] for one in told]


class Beside:
    """Both kinds of passes, asked the same; what they answer must be the same."""

    def __init__(self, plain: Passes, static: StaticPasses) -> None:
        self.plain, self.static = plain, static
        self.config, self.groups, self.pages = static.config, static.groups, static.pages
        self.kinds: set[tuple[bool, bool]] = set()

    def run(
        self, tokens: Tokens, tables: Sequence[Tensor], wanted: Sequence[int], greatest: Greatest | None = None
    ) -> tuple[Tensor, Tensor]:
        expected = self.plain.run(tokens, tables, wanted)
        found = self.static.run(tokens, tables, wanted)
        for one, other in zip(expected, found, strict=True):
            torch.testing.assert_close(other, one, rtol=1e-6, atol=1e-6)
        often = [tokens.rows.count(row) for row in tokens.rows]
        self.kinds.add((min(often) == 1, max(often) > 1))
        return found


def test_a_static_step_gives_what_a_plain_pass_gives(model: GPT) -> None:
    """In fp64, so that all that is left between the answers is their rounding to fp32; so do the pages."""
    exact = copy.deepcopy(model).double()
    both = Beside(PlainPasses(exact, room(exact)), StaticPasses(exact, room(exact)))
    written(both, requests_of(0))
    assert both.kinds == {(True, False), (False, True), (True, True)}
    assert len(both.static.shapes) > 2
    for plain, static in zip(both.plain.held, both.static.plain.held, strict=True):
        torch.testing.assert_close(static[:, :, :ROOM], plain, rtol=1e-11, atol=1e-11)


def test_the_engine_writes_the_same(model: GPT) -> None:
    requests = requests_of(1)
    found = written(StaticPasses(model, room(model)), requests)
    assert found == written(PlainPasses(model, room(model)), requests)
    assert max(len(set(tokens)) for tokens in found) > 5


def test_in_fp32_they_are_as_near_as_its_rounding(model: GPT) -> None:
    passes = PlainPasses(model, room(model)), StaticPasses(model, room(model))
    tables = [torch.arange(ROOM, dtype=torch.int32)[:38].reshape(2, 19) for _ in passes[0].groups]
    texts = random.Random(4).choices(range(61), k=300)
    prompts = Tokens([*texts[:180], *texts[200:220]], [*range(180), *range(20)], [0] * 180 + [1] * 20)
    for each in passes:
        each.run(prompts, tables, [])
    for step in range(3):
        tokens = Tokens([texts[step], texts[50 + step]], [180 + step, 20 + step], [0, 1])
        expected, found = (each.run(tokens, tables, [0, 1]) for each in passes)
        for one, other in zip(expected, found, strict=True):
            assert float((one - other).abs().max()) < 2e-6 * float(one.abs().max()) + 2e-6


def test_what_is_wanted_comes_in_the_order_in_which_it_is_wanted(model: GPT) -> None:
    passes = StaticPasses(model, room(model))
    tables = [torch.arange(2 * 19, dtype=torch.int32).reshape(2, 19) for _ in passes.groups]
    tokens = Tokens([5, 6, 7, 8], [0, 0, 1, 2], [0, 1, 1, 1])
    whole = passes.run(tokens, tables, [0, 1, 2, 3])
    for wanted in ([3, 0], [2], [], [0], [1, 3]):
        for some, all_of_them in zip(passes.run(tokens, tables, wanted), whole, strict=True):
            torch.testing.assert_close(some, all_of_them[wanted])


def test_guesses_ahead_are_judged_as_ever(model: GPT) -> None:
    start = tuple(random.Random(3).choices(range(61), k=20))
    requests = [Request(start * 3, most=12), Request(start, most=12, sampling=Sampling(0.8))]
    drafter = PromptLookup(longest=3, shortest=1)
    told = Engine(StaticPasses(model, room(model)), drafter=drafter).run(requests)
    assert [[each.token for each in one] for one in told] == written(PlainPasses(model, room(model)), requests)


def test_a_compiler_is_given_the_whole_step() -> None:
    """Nothing in it depends on a number that only the device knows, or it could not be had in one piece."""
    model = build(CONFIGS["gpt3"])
    asked: list[Step] = []

    def compiler(step: Step) -> Step:
        asked.append(step)
        return torch.compile(step, fullgraph=True, dynamic=False, backend="aot_eager")

    requests = [Request((1, 2, 3), most=4), Request((4,), most=2)]
    found = written(StaticPasses(model, room(model), compiler=compiler), requests)
    assert len(asked) == 1
    assert found == written(PlainPasses(model, room(model)), requests)


@given(places=st.lists(st.integers(0, 299), min_size=1, max_size=70), name=st.sampled_from(sorted(CONFIGS)))
def test_shapes_are_few_and_have_room(places: list[int], name: str) -> None:
    groups = groups_of(CONFIGS[name])
    shape = shape_for(CONFIGS[name], groups, places)
    assert shape.slots.bit_count() == 1
    assert len(places) <= shape.slots < 2 * len(places)
    for group, shown in zip(groups, shape.shown, strict=True):
        for place in places:
            last = place // PAGE
            assert last - shown < group.kept.first(place) // PAGE or shown > last
        assert shown <= -(-300 // PAGE)
        assert shown.bit_count() == 1 or shown < max(FEWEST_PAGES, 2 * (max(places) // PAGE + 1))


def test_summaries_in_pages_of_their_own_are_left_to_plain_passes() -> None:
    config = GPTConfig(**SHAPE, patterns=(Fixed(32, 4), Dense()))
    assert "summaries" in str(why_not_static(config))
    assert why_not_static(CONFIGS["gpt3"]) is None
    with pytest.raises(ValueError, match="cannot be recorded: summaries"):
        StaticPasses(GPT.build(config, 0), [ROOM] * len(groups_of(config)))


@needs_gpu
@pytest.mark.parametrize("compiler", [None, merged])
def test_recordings_write_what_the_step_writes(on_gpu: GPT, compiler: Callable[[Step], Step] | None) -> None:
    requests = requests_of(2)
    recorded = StaticPasses(on_gpu, room(on_gpu), compiler=compiler)
    found = written(recorded, requests)
    assert found == written(StaticPasses(on_gpu, room(on_gpu), record=False), requests)
    assert found == written(PlainPasses(on_gpu, room(on_gpu)), requests)
    assert found == written(recorded, requests), "nothing is recorded any more, all is replayed"


@needs_gpu
def test_recordings_of_two_shapes_take_turns(on_gpu: GPT) -> None:
    """They share their memory, so what one gave must not change while the other runs."""
    recorded, plain = StaticPasses(on_gpu, room(on_gpu)), PlainPasses(on_gpu, room(on_gpu))
    tables = [torch.arange(2 * 19, dtype=torch.int32).reshape(2, 19) for _ in recorded.groups]
    kept = []
    for place in range(12):
        rows = [0, 1] if place % 2 else [place % 4 // 2]
        tokens = Tokens([place + row for row in rows], [place // 2] * len(rows), rows)
        kept.append((plain.run(tokens, tables, range(len(rows))), recorded.run(tokens, tables, range(len(rows)))))
    assert len(recorded.shapes) == 2
    for expected, found in kept:
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)


@needs_gpu
def test_memory_does_not_grow(on_gpu: GPT) -> None:
    recorded = StaticPasses(on_gpu, room(on_gpu))
    used = []
    for _ in range(4):
        written(recorded, requests_of(3))
        torch.cuda.synchronize()
        used.append(torch.cuda.memory_allocated())
    assert used[-1] == used[1]
