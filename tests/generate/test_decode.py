"""Decoding: transformers' greedy tokens, ragged rows alone and together, stopping, and going past the context."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import AutoModelForCausalLM, GPT2Config, GPT2LMHeadModel

from ensue.generate.decode import generate_tokens, stream_tokens
from ensue.generate.settings import Sampling
from ensue.model.gpt import GPT
from ensue.model.patterns import Banded, Dense, Fixed
from ensue.model.weights import load_model, save_model

GREEDY = Sampling()
PROMPTS = [[5, 9, 2], [17], [30, 31, 32, 33, 34, 35, 36], [8, 8, 8, 1, 60]]


def theirs(model: torch.nn.Module, prompts: list[list[int]], *, new: int, **options: object) -> list[list[int]]:
    """transformers' greedy continuation of ragged prompts, padded on the left as it wants them."""
    longest = max(map(len, prompts))
    ids = torch.tensor([[0] * (longest - len(prompt)) + prompt for prompt in prompts])
    mask = torch.tensor([[0] * (longest - len(prompt)) + [1] * len(prompt) for prompt in prompts])
    settings = {"do_sample": False, "pad_token_id": 0, "eos_token_id": None, **options}
    out = model.generate(ids, attention_mask=mask, max_new_tokens=new, **settings)
    return out[:, longest:].tolist()


def recomputed(model: GPT, prompt: list[int], *, new: int) -> list[int]:
    """Greedy with no cache at all, sliding as documented: the last context // 2 tokens once the context is full."""
    window, made = list(prompt), []
    for _ in range(new):
        with torch.no_grad():
            token = int(model(torch.tensor([window]))[0, -1].argmax())
        made.append(token)
        full = len(window) == model.config.context
        window = [*window, token][-max(model.config.context // 2, 1) :] if full else [*window, token]
    return made


@pytest.mark.parametrize("prompts", [PROMPTS[:1], PROMPTS], ids=["single", "ragged"])
def test_greedy_is_transformers_on_our_folder(
    make_gpt: Callable[..., GPT], tmp_path: Path, prompts: list[list[int]]
) -> None:
    model = make_gpt()
    save_model(model, tmp_path)
    reference = AutoModelForCausalLM.from_pretrained(tmp_path).eval()
    ours = generate_tokens(model, prompts, sampling=GREEDY, max_new_tokens=20)
    assert ours == theirs(reference, prompts, new=20)
    assert any(len(set(row)) > 4 for row in ours) or len(prompts) == 1  # not one token over and over


@pytest.mark.parametrize(("penalty", "ngram"), [(1.0, 0), (1.4, 0), (1.0, 2)])
def test_greedy_is_transformers_on_its_folder(tmp_path: Path, penalty: float, ngram: int) -> None:
    torch.manual_seed(3)
    config = GPT2Config(
        vocab_size=47,
        n_positions=40,
        n_embd=30,
        n_layer=2,
        n_head=5,
        initializer_range=0.4,
        bos_token_id=0,
        eos_token_id=0,
    )
    reference = GPT2LMHeadModel(config).eval()
    reference.save_pretrained(tmp_path)
    sampling = Sampling(repetition_penalty=penalty, no_repeat_ngram=ngram)
    prompts = [[40, 2, 3, 4], [7, 5, 7, 5]]
    ours = generate_tokens(load_model(tmp_path), prompts, sampling=sampling, max_new_tokens=30)
    options = {"repetition_penalty": penalty, "no_repeat_ngram_size": ngram}
    assert ours == theirs(reference, prompts, new=30, **options)


@settings(max_examples=15)
@given(
    rows=st.lists(st.lists(st.integers(0, 60), min_size=1, max_size=12), min_size=1, max_size=4),
    new=st.integers(1, 25),
    context=st.sampled_from([12, 13, 16]),
)
def test_ragged_rows_past_the_context_equal_recomputing(
    make_gpt: Callable[..., GPT], rows: list[list[int]], new: int, context: int
) -> None:
    model = make_gpt(context=context).double()  # so that no two tokens are alike but for rounding
    together = generate_tokens(model, rows, sampling=GREEDY, max_new_tokens=new)
    assert together == [recomputed(model, row, new=new) for row in rows]


@pytest.mark.parametrize("pattern", [Banded(3), Fixed(6, 1), Fixed(6, 2, "second", spread=True)], ids=str)
def test_sparse_layers_go_past_the_context_too(make_gpt: Callable[..., GPT], pattern: Banded | Fixed) -> None:
    """A context several times what the cache keeps of a sparse layer."""
    dense = make_gpt(context=100)
    model = GPT(replace(dense.config, patterns=(pattern, Dense()))).eval()
    model.load_state_dict(dense.state_dict())
    together = generate_tokens(model, PROMPTS, sampling=GREEDY, max_new_tokens=120)
    assert together == [recomputed(model, prompt, new=120) for prompt in PROMPTS]


@pytest.mark.parametrize("context", [1, 2, 3])
def test_tiny_contexts(make_gpt: Callable[..., GPT], context: int) -> None:
    model = make_gpt(context=context)
    assert generate_tokens(model, [[4]], sampling=GREEDY, max_new_tokens=7) == [recomputed(model, [4], new=7)]


def test_a_row_does_not_depend_on_its_company(make_gpt: Callable[..., GPT]) -> None:
    model = make_gpt()
    sampling = Sampling(temperature=1.0, top_k=20, top_p=0.95, seed=11)
    together = generate_tokens(model, PROMPTS, sampling=sampling, max_new_tokens=15)
    alone = [generate_tokens(model, [prompt], sampling=sampling, max_new_tokens=15)[0] for prompt in PROMPTS]
    in_pairs = generate_tokens(model, PROMPTS, sampling=sampling, max_new_tokens=15, cache_bytes=1)
    assert together == alone == in_pairs
    assert generate_tokens(model, PROMPTS[::-1], sampling=sampling, max_new_tokens=15) == together[::-1]


def test_seeds(make_gpt: Callable[..., GPT]) -> None:
    model = make_gpt()

    def sample(seed: int) -> list[list[int]]:
        return generate_tokens(model, [[1, 2]] * 3, sampling=Sampling(1.0, seed=seed), max_new_tokens=12)

    assert sample(1) == sample(1)
    assert sample(1) != sample(2)
    assert len(set(map(tuple, sample(1)))) == 3  # the same prompt thrice gives three samples


def test_stop_tokens_end_a_row_and_only_it(make_gpt: Callable[..., GPT]) -> None:
    model = make_gpt()
    free = generate_tokens(model, PROMPTS, sampling=GREEDY, max_new_tokens=12)
    stop = free[0][3]
    stopped = generate_tokens(model, PROMPTS, sampling=GREEDY, max_new_tokens=12, stop_tokens=frozenset({stop}))
    assert stopped == [row[: row.index(stop) + 1] if stop in row else row for row in free]
    assert len(stopped[0]) < 12
    assert any(len(row) == 12 for row in stopped)


def test_finished_rows_cost_nothing(make_gpt: Callable[..., GPT]) -> None:
    """The passes' batch sizes, seen by a hook: once a row has ended it is not in them."""
    model = make_gpt()
    sizes: list[int] = []
    handle = model.blocks[0].register_forward_hook(lambda module, inputs, output: sizes.append(output.shape[0]))
    ends = {0: 1, 1: 4, 2: 2, 3: 4}  # after how many tokens each row ends
    made = [0] * 4

    def on_token(row: int, token: int) -> bool:
        made[row] += 1
        return made[row] == ends[row]

    try:
        generate_tokens(model, PROMPTS, sampling=GREEDY, max_new_tokens=9, on_token=on_token)
    finally:
        handle.remove()
    assert made == [1, 4, 2, 4]
    assert sizes == [4, 3, 2, 2]


def test_stream_is_generate_and_stops_when_closed(make_gpt: Callable[..., GPT]) -> None:
    model = make_gpt()
    rows: list[list[int]] = [[] for _ in PROMPTS]
    for step in stream_tokens(model, PROMPTS, sampling=GREEDY, max_new_tokens=6):
        for row, token in step:
            rows[row].append(token)
    assert rows == generate_tokens(model, PROMPTS, sampling=GREEDY, max_new_tokens=6)
    assert list(stream_tokens(model, PROMPTS, sampling=GREEDY, max_new_tokens=0)) == []
    assert generate_tokens(model, [], sampling=GREEDY, max_new_tokens=6) == []


def test_ids_beyond_the_vocabulary_are_never_chosen(make_gpt: Callable[..., GPT]) -> None:
    rows = generate_tokens(make_gpt(), PROMPTS, sampling=Sampling(5.0), max_new_tokens=25, vocabulary=7)
    assert max(max(row) for row in rows) < 7


def test_a_model_in_training_is_read_without_dropout_and_put_back(make_gpt: Callable[..., GPT]) -> None:
    model = make_gpt()
    expected = generate_tokens(model, PROMPTS, sampling=GREEDY, max_new_tokens=5)
    model.train()
    for block in model.blocks:
        block.dropout = 0.5
    try:
        assert generate_tokens(model, PROMPTS, sampling=GREEDY, max_new_tokens=5) == expected
        assert model.training
        assert model.blocks[0].training
    finally:
        for block in model.blocks:
            block.dropout = 0.0


def test_bad_input(make_gpt: Callable[..., GPT]) -> None:
    model = make_gpt(context=8)
    bad = [([[1], []], 1, "prompt 1 has no tokens"), ([[61]], 1, "vocabulary of 61"), ([[1]], -1, "max_new_tokens -1")]
    for prompts, new, message in [*bad, ([[1] * 9], 1, r"9 tokens.*context of 8.*--truncate")]:
        with pytest.raises(ValueError, match=message):
            generate_tokens(model, prompts, sampling=GREEDY, max_new_tokens=new)
        with pytest.raises(ValueError, match=message):  # at once, not when the first step is asked for
            stream_tokens(model, prompts, sampling=GREEDY, max_new_tokens=new)
