"""Which tokens of a conversation are scored, and what is left of one that is too long."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ensue.tokens.byte_level import ByteLevelTokenizer
from ensue.tokens.conversation import ChatTemplate, checked_messages, plain_template
from ensue.tokens.conversation_rows import Cuts, fitted, rows_of
from ensue.tokens.conversation_stream import ConversationStream, conversation_example, in_order_of_length

WORDS = ["rivers", "carry", "stones", "to", "the", "sea", "河流", "山", "élan", ":-)", "\n"]
words = st.lists(st.sampled_from(WORDS), min_size=1, max_size=25)
texts = words.map(" ".join).filter(str.strip)
conversations = st.builds(
    lambda system, turns: (
        ([{"role": "system", "content": system}] if system else [])
        + [
            {"role": role, "content": text}
            for pair in turns
            for role, text in zip(("user", "assistant"), pair, strict=True)
        ]
    ),
    st.one_of(st.none(), texts),
    st.lists(st.tuples(texts, texts), min_size=1, max_size=4),
)


def row_of(talk, tokenizer, *, limit=10_000, template=None):
    (row,) = rows_of(template or plain_template(tokenizer), tokenizer, [checked_messages(talk)], limit=limit)
    return row


def scored_texts(row, tokenizer):
    """What is scored, run by run."""
    edges = np.flatnonzero(np.diff([0.0, *row.scored, 0.0]))
    return [tokenizer.decode(row.ids[low:high].tolist()) for low, high in edges.reshape(-1, 2)]


@given(talk=conversations)
@settings(max_examples=60)
def test_the_answers_are_scored_with_their_ends_and_nothing_else(talk, small_tokenizer: ByteLevelTokenizer) -> None:
    row = row_of(talk, small_tokenizer)
    answers = [message["content"].strip() for message in talk if message["role"] == "assistant"]
    assert scored_texts(row, small_tokenizer) == [f" {answer}<|endoftext|>" for answer in answers]
    assert row.cuts == Cuts()


@given(talk=conversations, limit=st.integers(24, 150))
@settings(max_examples=120)
def test_what_is_left_of_a_conversation_that_is_too_long(talk, limit, small_tokenizer: ByteLevelTokenizer) -> None:
    whole, row = row_of(talk, small_tokenizer), row_of(talk, small_tokenizer, limit=limit)
    assert len(row.ids) == len(row.scored) <= limit
    assert row.scored.any()
    assert not row.scored[0]
    if len(whole.ids) <= limit:
        assert np.array_equal(row.ids, whole.ids)
        assert row.cuts == Cuts()
        return
    cuts, answer = row.cuts, talk[-1]["content"].strip()
    assert any((cuts.turns, cuts.systems, cuts.prompts, cuts.answers))
    kept = scored_texts(row, small_tokenizer)[-1]
    if not cuts.answers:
        assert kept == f" {answer}<|endoftext|>"
    else:  # by itself, with hardly a prompt, it would have been too long
        alone = row_of([{"role": "user", "content": "."}, talk[-1]], small_tokenizer)
        assert len(alone.ids) > limit - 8
        assert f" {answer}<|endoftext|>".startswith(kept.rstrip("\ufffd"))
    if cuts.prompts or cuts.answers:
        assert len(scored_texts(row, small_tokenizer)) == 1
    if not cuts.turns:
        assert sum(message["role"] == "user" for message in talk) == len(scored_texts(row, small_tokenizer))


def test_the_oldest_turns_go_first_then_the_system_then_the_beginning_of_the_prompt(
    small_tokenizer: ByteLevelTokenizer,
) -> None:
    talk = [
        {"role": "system", "content": "Be kind to all."},
        {"role": "user", "content": "first " * 20},
        {"role": "assistant", "content": "one"},
        {"role": "user", "content": "second " * 20 + "last"},
        {"role": "assistant", "content": "two"},
    ]
    whole = row_of(talk, small_tokenizer)
    size = len(whole.ids)
    told = {limit: row_of(talk, small_tokenizer, limit=limit) for limit in (size - 1, 40, 25)}
    assert told[size - 1].cuts == Cuts(turns=1)
    assert small_tokenizer.decode(told[size - 1].ids.tolist()).startswith("System: Be kind to all.\nUser: second")
    assert told[40].cuts == Cuts(turns=1, systems=1, prompts=1)
    text = small_tokenizer.decode(told[40].ids.tolist())
    assert text.startswith("User: ")
    assert text.endswith("last\nAssistant: two<|endoftext|>")
    assert str(told[40].cuts + told[25].cuts).startswith(
        "too long: 2 lost their oldest turns, 2 the system's message, 2"
    )


def test_a_prompt_that_ends_in_parts_of_a_character_keeps_the_whole_of_it(small_tokenizer: ByteLevelTokenizer) -> None:
    prompt, answer = "rivers carry stones to the sea " * 3 + "山", "the sea"
    talk = [{"role": "user", "content": prompt}, {"role": "assistant", "content": answer}]
    assert len(small_tokenizer.encode("山")) > 1
    room = len(row_of([{"role": "user", "content": "山"}, talk[-1]], small_tokenizer).ids)
    row = row_of(talk, small_tokenizer, limit=room - 1)
    assert row.cuts == Cuts(prompts=1, answers=1)
    assert small_tokenizer.decode(row.ids.tolist()).startswith("User: 山\nAssistant: the")


def test_a_prompt_is_fitted_for_its_answer(small_tokenizer: ByteLevelTokenizer) -> None:
    template = plain_template(small_tokenizer)
    talk = checked_messages(
        [
            {"role": "user", "content": "old " * 30},
            {"role": "assistant", "content": "yes"},
            {"role": "user", "content": "new " * 30},
        ]
    )
    left, ids, cuts = fitted(template, small_tokenizer, talk, limit=60)
    assert cuts == Cuts(turns=1)
    assert left == talk[2:]
    assert len(ids) <= 60
    assert small_tokenizer.decode(ids).endswith("\nAssistant:")


def test_an_answer_that_later_turns_are_rendered_without_is_not_scored(small_tokenizer: ByteLevelTokenizer) -> None:
    """Such as a template that takes the thoughts out of older answers."""
    source = (
        "{% for m in messages %}{{ m.role }}: {{ m.content.split('=>')[-1] if not loop.last else m.content }}"
        "{{ eos_token if m.role == 'assistant' }}\n{% endfor %}{% if add_generation_prompt %}assistant: {% endif %}"
    )
    plain = plain_template(small_tokenizer)
    talk = [
        {"role": "user", "content": "a"},
        {"role": "assistant", "content": "thought => said"},
        {"role": "user", "content": "b"},
        {"role": "assistant", "content": "thought => more"},
    ]
    row = row_of(talk, small_tokenizer, template=ChatTemplate(source, plain.names, plain.tokens))
    assert row.cuts.unscored == 1
    # The prompt ends in a space that is a token with the word behind it: what differs from the prompt is scored.
    assert scored_texts(row, small_tokenizer) == [" thought => more<|endoftext|>"]
    assert "1 answers are not in what later turns" in str(row.cuts)


def test_a_conversation_without_an_answer(small_tokenizer: ByteLevelTokenizer) -> None:
    for talk in ([{"role": "user", "content": "a"}], [{"role": "assistant", "content": "a"}]):
        with pytest.raises(ValueError, match="needs an answer"):
            row_of(talk, small_tokenizer)
    with pytest.raises(ValueError, match="no room for an answer"):
        row_of([{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}], small_tokenizer, limit=4)


def test_batches_hold_every_answer_once(small_tokenizer: ByteLevelTokenizer) -> None:
    draw = np.random.default_rng(0)
    pairs = [("go " * draw.integers(1, 30), "sea " * (number % 9 + 1)) for number in range(48)]
    talks = [[{"role": "user", "content": asked}, {"role": "assistant", "content": answer}] for asked, answer in pairs]
    rows = list(rows_of(plain_template(small_tokenizer), small_tokenizer, talks, limit=60))
    examples = [conversation_example(row.ids, row.scored, f"f:{number}") for number, row in enumerate(rows)]
    stream = ConversationStream(examples, batch=8, micro_tokens=150, seed=1)
    seen = []
    for step in range(stream.steps_per_epoch):
        names = stream.documents(step)
        batches = list(stream.batches(step))
        assert all(batch.tokens.numel() <= 150 or len(batch.tokens) == 1 for batch in batches)
        wanted = sum(int(rows[int(name[2:])].scored.sum()) for name in names)
        assert sum(int(batch.weights.sum()) for batch in batches) == wanted
        seen += names
        for batch in batches:
            for tokens, targets, weights in zip(batch.tokens, batch.targets, batch.weights, strict=True):
                assert targets[weights > 0][-1] == small_tokenizer.end
                row = next(row for row in rows if len(row.ids) <= len(tokens) + 1 and _same(row, tokens, targets))
                assert np.array_equal(weights[: len(row.ids) - 1], row.scored[1:])
                assert not weights[len(row.ids) - 1 :].any()
    assert sorted(seen) == sorted(f"f:{number}" for number in range(48))
    assert stream.padding() < 0.3
    scored = sum(int(batch.weights.sum()) for batch in in_order_of_length(examples, micro_tokens=150))
    assert scored == sum(int(row.scored.sum()) for row in rows)


def _same(row, tokens, targets):
    size = len(row.ids) - 1
    return np.array_equal(tokens[:size], row.ids[:-1]) and np.array_equal(targets[:size], row.ids[1:])
