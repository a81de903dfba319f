"""Configs go to JSON and come back the same; whatever is misspelt or ill-typed is refused by name."""

import json
import math
from dataclasses import dataclass, field, fields, replace
from typing import Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ensue.core.config import from_dict, suggest, to_dict
from ensue.model.config import GPTConfig
from ensue.model.patterns import Banded, Dense, Fixed, Strided, TwoWay
from ensue.train.optimizer import OptimizerConfig
from ensue.train.schedule import Schedule


@dataclass(frozen=True)
class Odd:
    """One field of every type that a config may have."""

    required: int
    flag: bool = False
    rate: float = 1.0
    name: str = ""
    either: int | str | None = None
    choice: Literal["a", "b"] = "a"
    pair: tuple[int, float] = (0, 0.0)
    many: tuple[str, ...] = ()
    inner: Schedule | None = None
    part: Dense | Banded = field(default_factory=Dense)
    whole: OptimizerConfig = field(default_factory=OptimizerConfig)


sizes = st.integers(1, 10**6)
finite = st.floats(allow_nan=False, allow_infinity=False)
patterns = st.one_of(
    st.just(Dense()),
    st.just(TwoWay()),
    st.builds(Banded, sizes),
    st.builds(Strided, sizes, st.sampled_from(["both", "first", "second"])),
    sizes.flatmap(lambda stride: st.builds(Fixed, st.just(stride), st.integers(1, stride), spread=st.booleans())),
)
schedules = st.integers(0, 10**6).flatmap(
    lambda steps: st.builds(
        Schedule,
        st.sampled_from(["cosine", "linear", "trapezoid", "constant"]),
        st.integers(0, steps),
        st.just(steps),
        floor=st.floats(0, 0.99),
        decay=st.floats(0.01, 1),
    )
)
models = st.builds(
    lambda heads, head_width, **rest: GPTConfig(heads=heads, width=2 * heads * head_width, **rest),
    heads=st.integers(1, 100),
    head_width=st.integers(1, 200),
    vocab=sizes,
    context=sizes,
    layers=sizes,
    mlp_width=st.none() | sizes,
    mlp=st.sampled_from(["gelu", "swiglu"]),
    norm_epsilon=finite,
    positions=st.sampled_from(["learned", "rotary"]),
    attention_scale=st.none() | finite,
    bias=st.booleans(),
    patterns=st.lists(patterns, min_size=1, max_size=4).map(tuple),
    embedding_dropout=st.floats(0, 0.999),
)
optimizers = st.builds(
    OptimizerConfig, kind=st.sampled_from(["adamw", "muon"]), lr=finite, clip=st.none() | finite, beta1=finite
)
odds = st.builds(
    Odd,
    required=st.integers(),
    flag=st.booleans(),
    rate=finite,
    name=st.text(),
    either=st.none() | st.integers() | st.text(),
    choice=st.sampled_from(["a", "b"]),
    pair=st.tuples(st.integers(), finite),
    many=st.lists(st.text()).map(tuple),
    inner=st.none() | schedules,
    part=st.just(Dense()) | st.builds(Banded, sizes),
    whole=optimizers,
)


@settings(max_examples=60)
@given(config=st.one_of(models, optimizers, schedules, odds))
def test_any_config_comes_back_from_json_as_it_was(config):
    text = json.dumps(to_dict(config))
    back = from_dict(type(config), json.loads(text))
    assert back == config
    assert [type(getattr(back, each.name)) for each in fields(back)] == [
        type(getattr(config, each.name)) for each in fields(config)
    ]


def test_a_field_called_kind_is_kept():
    """OptimizerConfig has one; it must not be taken for the name of the class."""
    assert from_dict(OptimizerConfig, to_dict(OptimizerConfig(kind="muon"))).kind == "muon"
    outer = Odd(1, whole=OptimizerConfig(kind="muon"))
    assert from_dict(Odd, to_dict(outer)).whole.kind == "muon"


@settings(max_examples=30)
@given(config=models, data=st.data())
def test_a_misspelt_key_names_the_field_that_was_meant(config, data):
    name = data.draw(st.sampled_from([each.name for each in fields(config) if len(each.name) > 4]))
    place = data.draw(st.integers(0, len(name) - 1))
    typo = name[:place] + "_" + name[place + 1 :]
    record = to_dict(config)
    if typo in record:
        return
    record[typo] = record.pop(name)
    with pytest.raises(ValueError, match=f"GPTConfig has no field '{typo}'; did you mean '{name}'"):
        from_dict(GPTConfig, record)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"required": 1.5}, "required: expected int, got 1.5"),
        ({"required": True}, "required: expected int, got True"),
        ({"required": None}, "required: expected int, got None"),
        ({"flag": 1}, "flag: expected bool, got 1"),
        ({"flag": "true"}, "flag: expected bool, got 'true'"),
        ({"rate": "fast"}, "rate: expected float, got 'fast'"),
        ({"rate": True}, "rate: expected float, got True"),
        ({"name": 3}, "name: expected str, got 3"),
        ({"either": 1.5}, "either: expected int or str or null, got 1.5"),
        ({"either": {"a": 1}}, "either: expected int or str or null, got"),
        ({"choice": "c"}, "choice: 'c' is not one of 'a', 'b'"),
        ({"pair": [1]}, "pair: expected 2 values, got 1"),
        ({"pair": [1, "x"]}, r"pair\[1\]: expected float, got 'x'"),
        ({"pair": 5}, "pair: expected a list, got 5"),
        ({"many": ["a", 2]}, r"many\[1\]: expected str, got 2"),
        ({"many": "abc"}, "many: expected a list, got 'abc'"),
        ({"inner": 3}, "inner: expected Schedule or null, got 3"),
        ({"inner": {"kind": "Schedule", "shape": "cosine", "warmup": 1}}, "inner: Schedule needs the field 'steps'"),
        ({"inner": {"shape": "cosine", "warmup": 1, "stepz": 2}}, "inner: Schedule has no field 'stepz'.*'steps'"),
        ({"inner": {"kind": "Dense"}}, "inner: expected the fields of Schedule, got those of 'Dense'"),
        ({"part": {"kind": "Bandit", "window": 3}}, "part: unknown kind 'Bandit'; did you mean 'Banded'"),
        ({"part": {"window": 3}}, "part: unknown kind 'None'"),
        ({"part": {"kind": "Banded", "window": 0}}, "Banded: window must be at least 1"),
        ({"whole": [1]}, "whole: expected the fields of OptimizerConfig"),
        ({"whole": {"kind": "adam"}}, "whole.kind: 'adam' is not one of 'adamw', 'muon'"),
        ({"kind": "Schedule"}, "expected the fields of Odd, got those of 'Schedule'"),
    ],
)
def test_an_ill_typed_value_is_refused_by_its_path(change, message):
    with pytest.raises(ValueError, match=message):
        from_dict(Odd, {"required": 1, **change})


def test_a_missing_field_without_default_is_named():
    with pytest.raises(ValueError, match="Odd needs the field 'required'"):
        from_dict(Odd, {"flag": True})


def test_a_whole_number_is_a_float_where_one_is_expected():
    read = from_dict(Odd, {"required": 1, "rate": 3, "pair": [1, 2]})
    assert (read.rate, type(read.rate)) == (3.0, float)
    assert type(read.pair[1]) is float


def test_the_values_own_checks_still_hold():
    record = to_dict(GPTConfig(vocab=1, context=1, layers=1, width=8, heads=2))
    with pytest.raises(ValueError, match="width 9 cannot be shared by 2 heads"):
        from_dict(GPTConfig, {**record, "width": 9})


def test_suggest_names_the_nearest_or_all():
    assert suggest("contxt", ["layers", "context"]) == "; did you mean 'context'?"
    assert suggest("zzz", ["layers", "context"]) == "; it has: layers, context."


def test_an_infinite_value_survives_json():
    config = replace(OptimizerConfig(), clip=math.inf)
    assert from_dict(OptimizerConfig, json.loads(json.dumps(to_dict(config)))) == config
