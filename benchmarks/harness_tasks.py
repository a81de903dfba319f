"""The same tasks twice: as Ensue asks them, and as lm-evaluation-harness is told to, over the same local files."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ensue.evaluate.likelihood_metrics import bits, foretold, perplexity, target_perplexity, utf8_bytes, words
from ensue.evaluate.metrics import accuracies
from ensue.evaluate.scorer import Decoding
from ensue.evaluate.task import Choices, Files, Item, Metric, Outcome, Passage, Question, Row, Scoring, Target, Task
from ensue.evaluate.tasks.classification import SST2
from ensue.evaluate.tasks.language_modelling import WIKITEXT2_TOKENIZED
from ensue.evaluate.tasks.multiple_choice import ARC_EASY, HELLASWAG, PIQA
from ensue.evaluate.tasks.options import continuations

SPACE = "counts the space before an option, the harness does not"
ALONE = 'after "Answer:" (GPT-3), the harness after the end token alone'
EDGES = "counts words, the harness pieces between white space, empty ones at a text's ends too"
CAPITAL = "begins the last sentence with a capital, as GPT-3's figure shows it, and drops WikiHow's marks"


@dataclass(frozen=True)
class Number:
    """One of the harness's metrics, Ensue's beside it, and why they differ where their rules do."""

    harness: str
    ensue: str
    reason: str = ""


@dataclass(frozen=True)
class Case:
    """A task both ways. `config` is the harness's, less its files; `shots` examples are the same before all items."""

    task: Task
    config: Mapping[str, Any]
    numbers: tuple[Number, ...]
    shots: int = 0
    text_reason: str = ""


def per(unit: Scoring) -> Metric:
    """Accuracy by ln p per byte or character of an option without the space before it: the harness's rule."""

    def value(item: Item, outcome: Outcome) -> float:
        assert isinstance(item, Choices)
        texts = [option.continuation.removeprefix(" ") for option in item.options]
        sizes = [len(text.encode() if unit == "byte" else text) for text in texts]
        scores = [scored.nats / size for scored, size in zip(outcome.scores, sizes, strict=True)]
        return float(scores.index(max(scores)) == item.answer)

    return Metric(f"per_{unit}_without_space", value)


CHOICE_NUMBERS = (
    Number("acc", "accuracy_sum"),
    Number("acc_norm", "per_character_without_space"),
    Number("acc_bytes", "per_byte_without_space"),
    Number("acc_norm", "accuracy_character", SPACE),
    Number("acc_bytes", "accuracy_byte", SPACE),
)
UNCONDITIONAL = Number("acc_mutual_info", "accuracy_unconditional")


def _choices(task: Task, text: str, options: str, *, shots: int = 0, reason: str = "", same: bool = True) -> Case:
    """`same` scores options after the end token alone, too, as the harness does."""
    task = dataclasses.replace(
        task,
        scoring="sum",
        metrics=(*accuracies("sum", unconditional=True), per("character"), per("byte")),
        answer_context="" if same else task.answer_context,
    )
    task = dataclasses.replace(
        task, metrics=(dataclasses.replace(task.metrics[0], name="accuracy_sum"), *task.metrics[1:])
    )
    unconditional = UNCONDITIONAL if same else dataclasses.replace(UNCONDITIONAL, reason=ALONE)
    return Case(
        task,
        {
            "output_type": "multiple_choice",
            "doc_to_text": text,
            "doc_to_choice": options,
            "doc_to_target": "label",
            "metric_list": [{"metric": name} for name in ("acc", "acc_norm", "acc_bytes", "acc_mutual_info")],
        },
        (*CHOICE_NUMBERS, unconditional),
        shots,
        reason,
    )


def _hellaswag(row: Row) -> Item:
    return continuations(row["context"], row["choices"], row["label"])


def _lambada(row: Row) -> Item:
    return Target(row["context"], " " + row["target"])


LAMBADA = Task(
    name="lambada",
    about="a passage's last word",
    files=Files(test="lambada_test", columns=("context", "target")),
    item=_lambada,
    metrics=(foretold(), target_perplexity()),
)


def _story(row: Row) -> Item:
    return Passage(row["story"], row["story"])


STORIES = Task(
    name="stories",
    about="children's stories as texts",
    files=Files(test="mctest160", columns=("story",)),
    item=_story,
    metrics=(
        perplexity(words, name="word_perplexity"),
        perplexity(utf8_bytes, name="byte_perplexity"),
        bits(utf8_bytes, name="bits_per_byte"),
    ),
)
ARTICLES = dataclasses.replace(
    WIKITEXT2_TOKENIZED,
    name="wikitext2",
    files=dataclasses.replace(WIKITEXT2_TOKENIZED.files, test="../wikitext2/valid"),
    metrics=STORIES.metrics,
)


def _scrambled(row: Row) -> Item:
    return Question(row["context"], (row["completion"],))


def _exact(item: Item, outcome: Outcome) -> float:
    assert isinstance(item, Question)
    return float(outcome.text == item.answers[0])


CYCLE_LETTERS = Task(
    name="cycle_letters",
    about="a word whose letters were turned round",
    files=Files(test="gpt3_cycle_letters_in_word", columns=("context", "completion")),
    item=_scrambled,
    metrics=(Metric("exact_match", _exact),),
    decoding=Decoding(most=12, stop=("\n",)),
)


def _rolling(task: Task, text: str, reason: str) -> Case:
    names = ("word_perplexity", "byte_perplexity", "bits_per_byte")
    return Case(
        task,
        {
            "output_type": "loglikelihood_rolling",
            "doc_to_text": "",
            "doc_to_target": text,
            "metric_list": [{"metric": name} for name in names],
        },
        tuple(Number(name, name, reason if name == "word_perplexity" else "") for name in names),
    )


REVIEW = "Review: {{text | trim}}\nSentiment:"
POLARITIES = "{{['Negative', 'Positive']}}"
TRIMMED = "{{choices | map('trim') | list}}"

CASES = (
    _choices(ARC_EASY, "Question: {{question | trim}}\nAnswer:", TRIMMED),
    _choices(
        dataclasses.replace(ARC_EASY, name="arc_easy_gpt3"),
        "Question: {{question | trim}}\nAnswer:",
        TRIMMED,
        same=False,
    ),
    _choices(dataclasses.replace(HELLASWAG, item=_hellaswag), "{{context}}", "choices"),
    _choices(dataclasses.replace(HELLASWAG, name="hellaswag_gpt3"), "{{context}}", "choices", reason=CAPITAL),
    _choices(PIQA, "{{goal | trim}}", TRIMMED),
    _choices(SST2, REVIEW, POLARITIES),
    _choices(dataclasses.replace(SST2, name="sst2_4_shots"), REVIEW, POLARITIES, shots=4),
    Case(
        LAMBADA,
        {
            "output_type": "loglikelihood",
            "doc_to_text": "{{context}}",
            "doc_to_target": "{{' ' + target}}",
            "metric_list": [{"metric": "acc"}, {"metric": "perplexity"}],
        },
        (Number("acc", "accuracy"), Number("perplexity", "perplexity")),
    ),
    _rolling(STORIES, "{{story}}", ""),
    _rolling(ARTICLES, "{{text}}", EDGES),
    Case(
        CYCLE_LETTERS,
        {
            "output_type": "generate_until",
            "doc_to_text": "{{context}}",
            "doc_to_target": "{{completion}}",
            "generation_kwargs": {"until": ["\n"], "max_gen_toks": 12},
            "metric_list": [{"metric": "exact_match"}],
        },
        (Number("exact_match", "exact_match"),),
    ),
)
