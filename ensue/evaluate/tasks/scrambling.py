"""GPT-3's five tasks of scrambled words, 10,000 each (GPT-3 2020, section 3.9.2, figures G.19, G.22, G.23, G.26, G.27).

The text is that of the published files after the paper's instruction; the word is written by beam search up to the end
of its line. A task with `_likelihood` asks whether the right word is the likeliest, token by token.
"""

from __future__ import annotations

from ensue.evaluate.likelihood_metrics import foretold, target_perplexity
from ensue.evaluate.scorer import Decoding
from ensue.evaluate.task import Files, Task
from ensue.evaluate.tasks.arithmetic import completion, likelihood
from ensue.evaluate.text_metrics import same_text

HEADER = "Please unscramble the letters into a word, and write that word:"
"""The published context begins with the line end after it."""

KINDS = {
    "cycle_letters_in_word": "CL, a word whose letters were moved round",
    "mid_word_1_anagrams": "A1, a word whose letters but the first and last were shuffled",
    "mid_word_2_anagrams": "A2, a word whose letters but the first two and last two were shuffled",
    "random_insertion_in_word": "RI, a word with a sign or a space put between every two letters",
    "reversed_words": "RW, a word backwards",
}


def _task(kind: str, about: str, *, written: bool) -> Task:
    return Task(
        name=kind if written else f"{kind}_likelihood",
        about=f"{about} (GPT-3 2020, section 3.9.2)",
        files=Files(
            test=f"gpt3_{kind}",
            train=f"gpt3_{kind}",
            columns=("context", "completion"),
            origin=f"https://github.com/openai/gpt-3 (data/{kind}.jsonl.gz, as gpt3_{kind}.jsonl.gz)",
        ),
        item=completion if written else likelihood,
        metrics=(same_text(),) if written else (foretold(), target_perplexity()),
        header=HEADER,
        separator="",
        decoding=Decoding("beam", most=24),
        shots=100,
    )


TASKS = (
    *(_task(kind, about, written=True) for kind, about in KINDS.items()),
    *(_task(kind, about, written=False) for kind, about in KINDS.items()),
)
