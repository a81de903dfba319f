"""Tasks asked of a small model, against transformers and against plain loops over the same windows."""

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM, GPT2LMHeadModel

from ensue.evaluate.loading import load_task, make_item
from ensue.evaluate.local import LocalScorer
from ensue.evaluate.measuring import measure
from ensue.evaluate.scorer import Prompt, Request
from ensue.evaluate.stop_words import STOP_WORDS
from ensue.evaluate.task import Outcome, Passage, Question, Target, Task
from ensue.evaluate.tasks.arithmetic import TASKS as ARITHMETIC
from ensue.evaluate.tasks.lambada import LAMBADA, LAMBADA_STOP_WORDS
from ensue.evaluate.tasks.language_modelling import WIKITEXT2, utf8_bytes, words_and_line_ends
from ensue.evaluate.tasks.translation import TASKS as TRANSLATIONS
from ensue.generate.lm import LM
from ensue.generate.words import word_tokens


@pytest.fixture(scope="module")
def transformer(small_model: Path) -> GPT2LMHeadModel:
    model: GPT2LMHeadModel = AutoModelForCausalLM.from_pretrained(small_model)
    return model.eval()


def log_probabilities(model: torch.nn.Module, tokens: Sequence[int]) -> torch.Tensor:
    """(T, V) of what ensues after each token."""
    with torch.no_grad():
        return model(torch.tensor([tokens])).logits[0].double().log_softmax(-1)


def test_lambada_is_what_transformers_gives(
    shared_data: Path, small_lm: LM, small_scorer: LocalScorer, transformer: GPT2LMHeadModel
) -> None:
    loaded = load_task(LAMBADA, shared_data / "tasks", shots=0, limit=12)
    items = [make_item(LAMBADA, loaded.rows, number) for number in loaded.numbers]
    pairs = [(item.context, item.continuation) for item in items if isinstance(item, Target)]
    scores = small_scorer.loglikelihood([Request(*pair) for pair in pairs])
    expected, greedy = [], []
    for context, word in pairs:
        before, after = small_lm.tokenizer.encode(context), small_lm.tokenizer.encode(word)
        tokens = [*before, *after][-small_lm.config.context - 1 :]
        steps = log_probabilities(transformer, tokens[:-1])[-len(after) :]
        expected.append(float(steps.gather(1, torch.tensor(after)[:, None]).sum()))
        greedy.append(steps.argmax(-1).tolist() == after)
    outcomes = [Outcome(scores=(score,)) for score in scores]
    accuracy, perplexity = (
        metric.over([metric.value(item, outcome) for item, outcome in zip(items, outcomes, strict=True)])
        for metric in LAMBADA.metrics
    )
    assert accuracy == np.mean(greedy)
    assert perplexity == pytest.approx(math.exp(-np.mean(expected)), rel=1e-5)


def test_lambadas_filter_takes_the_next_best_word(shared_data: Path, small_lm: LM, small_scorer: LocalScorer) -> None:
    loaded = load_task(LAMBADA_STOP_WORDS, shared_data / "tasks", shots=0, limit=4)
    items = [make_item(LAMBADA_STOP_WORDS, loaded.rows, number) for number in loaded.numbers]
    prompts = [Prompt(item.context, LAMBADA_STOP_WORDS.decoding) for item in items if isinstance(item, Question)]
    written = small_scorer.generate(prompts)
    assert all(word and word.lower() not in STOP_WORDS for word in written)
    kinds = word_tokens(small_lm)
    for prompt, word in zip(prompts, written, strict=True):
        tokens = small_lm.tokenizer.encode(f" {word}")
        assert kinds.first[tokens[0]]
        # Alone or with others, and the next best where it is not wanted either.
        assert small_scorer.generate([prompt]) == [word]
        less = replace(prompt.decoding, avoid=(*STOP_WORDS, word.lower()))
        assert small_scorer.generate([replace(prompt, decoding=less)]) != [word]
    right = LAMBADA_STOP_WORDS.metrics[0]
    assert right.value(Question("A", (' "Shane',)), Outcome(text="shane")) == 1
    assert right.value(Question("A", (" Shane",)), Outcome(text="Shan")) == 0


@pytest.mark.parametrize("stride", [None, 32])
def test_wikitext_is_what_a_plain_loop_gives(
    shared_data: Path, tmp_path: Path, small_lm: LM, small_scorer: LocalScorer, stride: int | None
) -> None:
    rows = (shared_data / "wikitext2" / "test.txt").read_bytes().decode().splitlines(keepends=True)
    (tmp_path / "wikitext2").mkdir()
    (tmp_path / "wikitext2" / "test.tokens").write_bytes("".join(rows[:5] + rows[90:95]).encode())
    loaded = load_task(WIKITEXT2, tmp_path, shots=0)
    items = [make_item(WIKITEXT2, loaded.rows, number) for number in loaded.numbers]
    passages = [item for item in items if isinstance(item, Passage)]
    scores = small_scorer.rolling([passage.text for passage in passages], stride=stride)
    window = small_lm.config.context
    step = stride or window
    total, units, size = 0.0, 0, 0
    for passage in passages:
        tokens = [small_lm.tokenizer.end, *small_lm.tokenizer.encode(passage.text)]
        done = 1
        while done < len(tokens):
            stop = min(len(tokens), done + (window if done == 1 else step))
            start = max(0, stop - window - 1)
            with torch.no_grad():
                logits = small_lm.model(torch.tensor([tokens[start : stop - 1]]))[0].double()
            for place in range(done, stop):
                row = logits[place - 1 - start]
                total += float(row[tokens[place]] - torch.logsumexp(row, 0))
            done = stop
        units += words_and_line_ends(passage.original)
        size += utf8_bytes(passage.original)
    numbers = {
        metric.name: metric.over(
            [metric.value(item, Outcome(scores=(score,))) for item, score in zip(items, scores, strict=True)]
        )
        for metric in WIKITEXT2.metrics
    }
    assert numbers["perplexity"] == pytest.approx(math.exp(-total / units), rel=1e-4)
    assert numbers["bits_per_byte"] == pytest.approx(-total / size / math.log(2), rel=1e-5)


SEVERAL = [
    task
    for task in (*ARITHMETIC, *TRANSLATIONS, LAMBADA_STOP_WORDS, LAMBADA)
    if task.name
    in (
        "two_digit_addition",
        "two_digit_addition_likelihood",
        "multi30k_en_fr",
        "multi30k_en_fr_instruct",
        "lambada",
        "lambada_stop_words",
    )
]


@pytest.mark.parametrize("task", SEVERAL, ids=lambda task: task.name)
def test_tasks_run_with_and_without_examples(
    task: Task, shared_data: Path, small_scorer: LocalScorer, tmp_path: Path
) -> None:
    for shots in (0, 1):
        loaded = load_task(task, shared_data / "tasks", shots=shots, limit=3)
        records = measure(loaded, small_scorer, tmp_path / f"{shots}.jsonl", shots=shots)
        assert len(records) == 3
