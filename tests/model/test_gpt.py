"""The model as a whole: its size, its start, its documents, its dropout, its gradients."""

from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ensue.model.config import GPTConfig
from ensue.model.gpt import GPT
from ensue.model.patterns import Banded, Dense, Fixed, Strided, TwoWay
from ensue.model.presets import PRESETS, gpt, gpt2, gpt3, modern, preset

PUBLISHED = {
    "gpt": 116_534_784,
    "gpt2": 124_439_808,
    "gpt2-medium": 354_823_168,
    "gpt2-large": 774_030_080,
    "gpt2-xl": 1_557_611_200,
    "gpt3-small": 125_226_240,
    "gpt3-medium": 355_871_744,
    "gpt3-large": 760_300_032,
    "gpt3-xl": 1_315_723_264,
    "gpt3-2.7b": 2_651_553_280,
    "gpt3-6.7b": 6_658_404_352,
    "gpt3-13b": 12_853_386_240,
    "gpt3-175b": 174_604_259_328,
}
SIZE = {"layers": 2, "width": 12, "heads": 3, "context": 16, "vocab": 11}
KINDS = {
    "gpt": replace(gpt(**SIZE), embedding_dropout=0.0, attention_dropout=0.0, residual_dropout=0.0),
    "gpt2": gpt2(**SIZE),
    "gpt3": replace(gpt3(**SIZE), patterns=(Dense(), Banded(3))),
    "sparse": replace(gpt2(**SIZE), patterns=(Strided(3), Fixed(4, 2, spread=True)), qkv_bias=False, tied=False),
    "two-way": replace(gpt2(**SIZE), patterns=(TwoWay(),)),
    "modern": modern(**SIZE),
}


def size_on_no_device(config):
    with torch.device("meta"):
        return sum(parameter.numel() for parameter in GPT(config).parameters())


def livelier(config):
    return replace(config, init_std=0.3, position_std=0.3, residual_init="same")


def tokens(rows, length, seed=0):
    return torch.randint(0, SIZE["vocab"], (rows, length), generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_sizes_exactly(name):
    assert size_on_no_device(preset(name)) == PUBLISHED[name] == preset(name).parameters


@pytest.mark.parametrize("name", sorted(PRESETS.keys() - PUBLISHED.keys()))
def test_our_own_presets_count_right(name):
    assert size_on_no_device(preset(name)) == preset(name).parameters


def test_an_unknown_preset_names_the_nearest():
    with pytest.raises(ValueError, match="no preset 'gtp2-medium'; did you mean 'gpt2-medium'"):
        preset("gtp2-medium")


@settings(max_examples=50)
@given(st.data())
def test_the_formula_counts_every_parameter(data):
    def draw(*choices):
        return data.draw(st.sampled_from(choices))

    heads = draw(1, 2, 5)
    config = GPTConfig(
        vocab=draw(1, 7, 30),
        context=draw(1, 9),
        layers=draw(1, 3),
        heads=heads,
        width=heads * draw(2, 6),
        mlp_width=draw(None, 1, 13),
        mlp=draw("gelu", "swiglu"),
        norm=draw("layer", "rms"),
        norm_place=draw("pre", "post"),
        positions=draw("learned", "rotary"),
        bias=draw(True, False),
        qk_norm=(qk_norm := draw(True, False)),
        qkv_bias=draw(True, False),
        tied=draw(True, False),
    )
    if qk_norm:
        config = replace(config, norm="rms")
    assert size_on_no_device(config) == config.parameters


@pytest.mark.parametrize(
    ("config", "positions", "residual"),
    [
        (gpt(layers=3, width=192, heads=3, vocab=700, context=300), 0.02, 0.02),
        (gpt2(layers=3, width=192, heads=3, vocab=700, context=300), 0.01, 0.02 / 6**0.5),
        (gpt3(layers=3, width=192, heads=3, vocab=700, context=300), 0.01, 0.02 / 6**0.5),
        (modern(layers=3, width=192, heads=3, vocab=700, context=300), None, 0.0),
        (replace(gpt2(layers=3, width=192, heads=3), init_std=0.1, position_std=0.5), 0.5, 0.1 / 6**0.5),
    ],
)
def test_every_kind_of_weight_starts_as_the_papers_say(config, positions, residual):
    seen = []
    for name, parameter in GPT.build(config, seed=5).named_parameters():
        if name.endswith("bias"):
            assert (parameter == 0).all(), name
            continue
        if "norm" in name:
            assert (parameter == 1).all(), name
            continue
        into_stream = name.endswith(("attention.out.weight", "mlp.down.weight"))
        expected = residual if into_stream else positions if name == "position_embedding.weight" else config.init_std
        assert parameter.std().item() == pytest.approx(expected, rel=0.02), name
        assert abs(parameter.mean().item()) <= 5 * expected / parameter.numel() ** 0.5, name
        seen.append(parameter.flatten()[:100])
    drawn = torch.stack([piece for piece in seen if piece.any()])
    assert drawn.unique(dim=0).shape == drawn.shape  # no two matrices are drawn alike


def test_build_depends_on_the_seed_and_the_name_alone():
    one = GPT.build(gpt(**SIZE), seed=1)
    torch.manual_seed(99)
    state = torch.get_rng_state()
    two = GPT.build(gpt(**SIZE), seed=1)
    assert torch.equal(torch.get_rng_state(), state)
    deeper = dict(GPT.build(gpt(**{**SIZE, "layers": 5}), seed=1).named_parameters())
    other = dict(GPT.build(gpt(**SIZE), seed=2).named_parameters())
    for (name, first), second in zip(one.named_parameters(), two.parameters(), strict=True):
        assert torch.equal(first, second), name
        assert torch.equal(first, deeper[name]), name
        assert first.dim() == 1 or not torch.equal(first, other[name]), name


def test_logits_come_from_the_token_embedding_unless_untied():
    tied = GPT.build(KINDS["gpt2"], seed=0)
    assert tied.head_weight is tied.token_embedding.weight
    untied = GPT.build(KINDS["sparse"], seed=0)
    assert not torch.equal(untied.head_weight, untied.token_embedding.weight)
    hidden = untied.hidden(tokens(2, 5))
    assert torch.equal(untied.logits(hidden), untied(tokens(2, 5)))
    torch.testing.assert_close(untied(tokens(2, 5)), hidden @ untied.head_weight.T)


@pytest.mark.parametrize("patterns", [(Dense(),), (Dense(), Banded(3)), (Strided(2),), (TwoWay(),)])
@torch.no_grad()
def test_packed_documents_with_rotary_positions_answer_as_if_alone(patterns):
    """Only the distance between tokens counts for them, so a document does not know where in the row it lies."""
    model = GPT.build(livelier(replace(modern(**SIZE), patterns=patterns)), seed=0).double().eval()
    first, second, third = tokens(2, 4, 1), tokens(2, 7, 2), tokens(2, 5, 3)
    segments = torch.tensor([0] * 4 + [1] * 7 + [2] * 5).expand(2, -1)
    together = model(torch.cat([first, second, third], dim=1), segments=segments)
    alone = torch.cat([model(part) for part in (first, second, third)], dim=1)
    torch.testing.assert_close(together, alone, atol=1e-5, rtol=1e-5)
    assert (model(torch.cat([first, second, third], dim=1)) - alone).abs().max() > 1e-2


@pytest.mark.parametrize("name", KINDS)
@torch.no_grad()
def test_documents_with_segments_never_touch_each_other(name):
    model = GPT.build(livelier(KINDS[name]), seed=0).double().eval()
    # Rows are cut differently: a mask that is shared by the rows would show.
    segments = torch.tensor([[0] * 5 + [1] * 11, [3] * 9 + [2] * 7])
    row = tokens(2, 16)
    plain, packed = model(row), model(row, segments=segments)
    torch.testing.assert_close(model(row, segments=torch.zeros_like(segments)), plain, atol=1e-12, rtol=0)
    assert (plain - packed)[:, -1].abs().max() > 1e-3
    for document in range(4):
        inside = segments == document
        moved = model(torch.where(inside, (row + 1) % 11, row), segments=segments)
        difference = (moved - packed).abs().amax(-1)
        assert difference[~inside].max() < 1e-12
        assert not inside.any() or difference[inside].min() > 1e-6


@pytest.mark.parametrize("place", ["embedding_dropout", "attention_dropout", "residual_dropout"])
def test_dropout_only_while_training(place):
    plain = GPT.build(livelier(KINDS["gpt2"]), seed=0)
    dropping = GPT.build(livelier(replace(KINDS["gpt2"], **{place: 0.5})), seed=0)
    row = tokens(2, 9)
    expected = plain(row)
    assert torch.equal(plain.eval()(row), expected)
    assert torch.equal(dropping.eval()(row), expected)
    dropping.train()
    one, two = dropping(row), dropping(row)
    assert not torch.allclose(one, expected, atol=1e-3)
    assert not torch.allclose(one, two, atol=1e-3)
    torch.manual_seed(4)
    one = dropping(row)
    torch.manual_seed(4)
    assert torch.equal(dropping(row), one)


@torch.no_grad()
def test_dropout_keeps_the_mean():
    """Embeddings, where nothing nonlinear lies between the mask and what is looked at."""
    model = GPT.build(replace(livelier(KINDS["gpt2"]), embedding_dropout=0.25), seed=0)
    shown = []
    for _ in range(400):
        model.hidden(tokens(1, 16), taps=lambda name, x: (shown.append(x) if name == "embedding" else None, x)[1])
    drops = torch.stack(shown)
    model.eval().hidden(tokens(1, 16), taps=lambda name, x: (shown.append(x) if name == "embedding" else None, x)[1])
    assert (drops == 0).float().mean().item() == pytest.approx(0.25, abs=0.01)
    kept = drops != 0
    torch.testing.assert_close(drops[kept], (shown[-1] / 0.75).expand_as(drops)[kept])


@pytest.mark.parametrize("name", KINDS)
def test_gradients_equal_finite_differences(name):
    """For every parameter, along one random direction, in double precision."""
    model = GPT.build(livelier(KINDS[name]), seed=0).double()
    row, goal = tokens(2, 10), tokens(2, 10, seed=1)
    segments = torch.tensor([0] * 4 + [1] * 6).expand(2, -1)

    def loss():
        logits = model(row, segments=segments)
        return torch.nn.functional.cross_entropy(logits.flatten(0, 1), goal.flatten())

    loss().backward()
    generator = torch.Generator().manual_seed(1)
    for label, parameter in model.named_parameters():
        assert parameter.grad is not None
        direction = torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
        step = 1e-5
        with torch.no_grad():
            parameter.add_(direction, alpha=step)
            above = loss()
            parameter.sub_(direction, alpha=2 * step)
            below = loss()
            parameter.add_(direction, alpha=step)
        expected = (above - below).item() / (2 * step)
        assert (parameter.grad * direction).sum().item() == pytest.approx(expected, rel=1e-5, abs=1e-8), label


@pytest.mark.parametrize("name", KINDS)
def test_every_parameter_is_learned(name):
    model = GPT.build(livelier(KINDS[name]), seed=0)
    model(tokens(2, 16)).logsumexp(-1).sum().backward()
    for label, parameter in model.named_parameters():
        assert parameter.grad is not None, label
        assert parameter.grad.abs().max() > 0, label


def test_more_tokens_than_the_context_are_refused():
    model = GPT.build(KINDS["gpt2"], seed=0)
    with pytest.raises(ValueError, match="17 tokens are more than this model's context of 16"):
        model(tokens(1, 17))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"heads": 5}, "width 12 cannot be shared by 5 heads"),
        ({"layers": 0}, "layers must be at least 1"),
        ({"patterns": ()}, "at least one attention pattern"),
        ({"attention_dropout": 1.0}, "attention_dropout must be at least 0 and below 1"),
        ({"positions": "rotary", "heads": 4}, "even head width"),
    ],
)
def test_configs_that_make_no_model(changes, message):
    with pytest.raises(ValueError, match=message):
        replace(KINDS["gpt2"], **changes)
