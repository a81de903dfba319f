"""Texts that are held to a grammar: always matching, whatever is drawn, and ended before their tokens run out."""

import json
import random
import re

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ensue.generate.constraints import Grammar, Grammars
from ensue.generate.engine.opening import EngineSettings, open_engine
from ensue.generate.engine.requests import Request
from ensue.generate.lm import LM
from ensue.generate.settings import Sampling
from ensue.tokens.byte_level import ByteLevelTokenizer

ANIMAL = {
    "type": "object",
    "properties": {
        "name": {"type": "string"},
        "age": {"type": "integer"},
        "tags": {"type": "array", "items": {"type": "string"}},
    },
    "required": ["name", "age"],
    "additionalProperties": False,
}
TREE = {
    "$defs": {
        "node": {
            "type": "object",
            "properties": {
                "value": {"type": "number"},
                "children": {"type": "array", "items": {"$ref": "#/$defs/node"}},
            },
            "required": ["value", "children"],
            "additionalProperties": False,
        }
    },
    "$ref": "#/$defs/node",
}
MANY = {
    "type": "object",
    "properties": {f"field_{i}": {"type": ["string", "integer", "boolean", "null"][i % 4]} for i in range(10)},
    "required": [f"field_{i}" for i in range(10)],
    "additionalProperties": False,
}
FORMS = {
    "type": "object",
    "properties": {
        "when": {"type": "string", "format": "date"},
        "id": {"type": "string", "pattern": "^[A-Z]{3}-\\\\d{4}$"},
        "kind": {"enum": ["alpha", "beta", "γάμμα"]},
        "note": {"type": ["null", "string"]},
    },
    "required": ["when", "id", "kind"],
    "additionalProperties": False,
}
OPTIONAL = {"type": "object", "properties": {"all": MANY, "one": {"type": "string"}}, "additionalProperties": False}
SCHEMAS = {
    "optional": OPTIONAL,
    "animal": ANIMAL,
    "tree": TREE,
    "many": MANY,
    "forms": FORMS,
    "object": {"type": "object"},
}
PATTERNS = [
    r"(positive|negative)",
    r"\d{4}-\d\d-\d\d",
    r"[a-z]*foo[0-9]{3,}(x|yz)",
    r".*end",
    r"(天|地)+[\u4e00-\u9fff]{2}。",
    r"[\d,]+",
    r"a|ab|abc?",
    r"",
]


@pytest.fixture(scope="module")
def grammars(tokenizer: ByteLevelTokenizer) -> Grammars:
    return Grammars(tokenizer)


def drawn(grammar: Grammar, most: int, seed: int) -> list[int]:
    """What comes of taking any token that is allowed; it breaks off before the end token."""
    matching, new, rng = grammar.matching(most), [], random.Random(seed)
    while len(new) < most:
        allowed = matching(new).nonzero()[:, 0].tolist()
        token = rng.choice(allowed)
        if token == grammar.tokenizer.end:
            break
        new.append(token)
    assert matching.error is None
    return new


@pytest.mark.parametrize("name", SCHEMAS)
def test_json_is_whole_and_meets_its_schema(grammars: Grammars, name: str) -> None:
    jsonschema = pytest.importorskip("jsonschema")
    grammar = grammars.json_schema(SCHEMAS[name])
    shortest = grammar.shortest
    for most in (shortest, shortest + 2, shortest + 30, max(90, shortest)):
        for seed in range(2):
            text = grammars.tokenizer.decode(drawn(grammar, most, seed))
            jsonschema.validate(json.loads(text), SCHEMAS[name])


@pytest.mark.parametrize("pattern", PATTERNS)
def test_texts_match_their_expression(grammars: Grammars, pattern: str) -> None:
    grammar = grammars.regex(pattern)
    for most in (max(1, grammar.shortest), grammar.shortest + 3, 50):
        for seed in range(8):
            text = grammars.tokenizer.decode(drawn(grammar, most, seed))
            assert re.fullmatch(pattern, text), text


def test_near_the_end_a_choice_is_still_a_choice(grammars: Grammars) -> None:
    """Where both answers fit, both may be given, even if nothing longer could."""
    grammar = grammars.regex("(QJQ|QX)")
    assert {grammars.tokenizer.decode(drawn(grammar, 3, seed)) for seed in range(9)} == {"QJQ", "QX"}
    assert {grammars.tokenizer.decode(drawn(grammar, 2, seed)) for seed in range(9)} == {"QX"}


@settings(max_examples=25)
@given(seed=st.integers(0, 999), name=st.sampled_from([*SCHEMAS, *PATTERNS]))
def test_a_constraint_is_a_function_of_the_text(grammars: Grammars, seed: int, name: str) -> None:
    """Asked in any order, and anew, it says the same as one that has read the text token by token."""
    grammar = grammars.json_schema(SCHEMAS[name]) if name in SCHEMAS else grammars.regex(name)
    new = drawn(grammar, 40, seed)
    steps = [grammar.matching(400)(new[:count]) for count in range(len(new) + 1)]
    places = list(range(len(new) + 1))
    random.Random(seed).shuffle(places)
    matching = grammar.matching(400)
    for place in places:
        assert torch.equal(matching(new[:place]), steps[place])


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "nothing"},
        {"type": "integer", "minimum": 5, "maximum": 3},
        {"enum": []},
        {"allOf": [{"type": "string"}, {"type": "integer"}]},
        {"$ref": "#/nowhere"},
        {"type": "string", "pattern": "("},
        {"not": {"type": "string"}},
    ],
)
def test_schemas_that_cannot_be_met(grammars: Grammars, schema: dict) -> None:
    with pytest.raises(ValueError, match="schema"):
        grammars.json_schema(schema)


@pytest.mark.parametrize("pattern", ["(", "[a-", "(?!x)y", "[a&&b]"])
def test_expressions_that_are_none(grammars: Grammars, pattern: str) -> None:
    with pytest.raises(ValueError, match="regular expression"):
        grammars.regex(pattern)


@pytest.mark.parametrize("sampling", [Sampling(), Sampling(1.5), Sampling(0.7, top_k=3), Sampling(1.0, top_p=0.5)])
def test_the_engine_writes_what_matches(lm: LM, grammars: Grammars, sampling: Sampling) -> None:
    """Some held to something and some not, in one batch; the others get what they would get alone."""
    engine = open_engine(lm, EngineSettings(cache_bytes=1 << 20))
    grammar, choice = grammars.json_schema(ANIMAL), grammars.regex("(crow|fox)s?")
    prompt = tuple(lm.tokenizer.encode("The fox"))
    ends = frozenset({lm.tokenizer.end})
    free = Request(prompt, most=20, sampling=sampling, stop=ends, seed=4)
    (alone,) = engine.run([free])
    held = [
        Request(prompt, most=40, sampling=sampling, seed=seed, stop=ends, constraint=grammar.matching(40), likeliest=2)
        for seed in range(3)
    ]
    chosen = Request(prompt, most=8, sampling=sampling, stop=ends, constraint=choice.matching(8))
    together = engine.run([free, *held, chosen])
    assert [told.token for told in together[0]] == [told.token for told in alone]
    for told in together[1:4]:
        text = lm.tokenizer.decode([each.token for each in told if each.token != lm.tokenizer.end])
        assert set(json.loads(text)) <= set(ANIMAL["properties"])
        assert all(each.nats is not None and each.nats > float("-inf") for each in told)
    text = lm.tokenizer.decode([each.token for each in together[4] if each.token != lm.tokenizer.end])
    assert re.fullmatch("(crow|fox)s?", text)
