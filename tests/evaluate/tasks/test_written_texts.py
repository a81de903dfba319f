"""The text of one real row of each task whose answer is written or foretold, exactly as a model sees it."""

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from ensue.evaluate.builtin import FORETOLD, WRITTEN
from ensue.evaluate.definition import definition_digest
from ensue.evaluate.loading import load_task, make_item
from ensue.evaluate.shots import before, demonstration
from ensue.evaluate.task import Outcome, Passage, Question, Row, Target, Task
from ensue.evaluate.tasks import language_modelling

TASKS = {task.name: task for task in (*FORETOLD, *WRITTEN)}

TEXTS = {
    "two_digit_addition": ("\n\nQ: What is 95 plus 58?\n\nA:", " 153"),
    "two_digit_addition_likelihood": ("\n\nQ: What is 95 plus 58?\n\nA:", " 153"),
    "cycle_letters_in_word": ("\nyscowbo =", " cowboys"),
    "nq_open": ("Q: Who wrote he ain't heavy he's my brother lyrics?\n\nA:", " Bobby Scott"),
    "webquestions": ("Q: What state does selena gomez?\n\nA:", " New York City"),
    "lambada": (
        """Give me a minute to change and I'll meet you at the docks." She'd forced those words through her teeth.

"No need to change. We won't be that long."

Shane gripped her arm and started leading her to the dock.

"I can make it there on my own,""",
        " Shane",
    ),
    "multi30k_en_fr": (
        "A man sleeping in a green room on a couch. =",
        " Un homme dormant dans une chambre verte sur un canapé.",
    ),
    "multi30k_de_en_instruct": (
        "Q: What is the English translation of Ein Mann schläft in einem grünen Raum auf einem Sofa. A:",
        " A man sleeping in a green room on a couch.",
    ),
    "gsm8k": (
        "Question: A robe takes 2 bolts of blue fiber and half that much white fiber.  "
        "How many bolts in total does it take?\nAnswer:",
        " It takes 2/2=<<2/2=1>>1 bolt of white fiber\n"
        "So the total amount of fabric is 2+1=<<2+1=3>>3 bolts of fabric\n#### 3",
    ),
}
ENDS = {
    "lambada_cloze": ('"I can make it there on my own, ___. ->', " Shane"),
    "lambada_stop_words": ('"I can make it there on my own,', " Shane"),
    "fairytaleqa": (
        "sunshine and telling stories to himself.\n\n"
        "Q: Who was the youngest of these seven sons and bore a very curious name?\n\nA:",
        " Assipattle",
    ),
    "adversarial_qa": ("be called subjective idealism.\n\nQ: what concept is mentioned first?\n\nA:", " atheism"),
    "cnn_dailymail_sample": (
        "'s not supposed to be warm and comforting, but...\nTL;DR:",
        ' Mentally ill inmates in Miami are housed on the "forgotten floor"',
    ),
}

RowsOf = Callable[[Task], Sequence[Row]]


def of_second_row(task: Task, published: RowsOf) -> tuple[str, str]:
    item = make_item(task, published(task), 1)
    if isinstance(item, Question):
        return item.context, item.answers[0]
    assert isinstance(item, Target)
    return item.context, item.continuation


@pytest.mark.parametrize("name", TEXTS)
def test_text_as_a_model_sees_it(name: str, published: RowsOf) -> None:
    assert of_second_row(TASKS[name], published) == TEXTS[name]


@pytest.mark.parametrize("name", ENDS)
def test_end_of_a_text_as_a_model_sees_it(name: str, published: RowsOf) -> None:
    context, answer = of_second_row(TASKS[name], published)
    end, begin = ENDS[name]
    assert (context[-len(end) :], answer[: len(begin)]) == ENDS[name]


def test_examples_stand_as_in_the_papers_figures(published: RowsOf) -> None:
    def shown(name: str) -> str:
        task = TASKS[name]
        rows = [row for row in published(task) if task.keep is None or task.keep(row)]
        item = make_item(task, rows, 2)
        assert isinstance(item, Question)
        return before(task, [demonstration(task, row) for row in rows[1::-1]]) + item.context

    assert shown("mid_word_1_anagrams") == (
        "Please unscramble the letters into a word, and write that word:\n"
        "skicts = sticks\nmoirrr = mirror\neletasbhsis ="
    )
    assert shown("two_digit_subtraction") == (
        "\n\nQ: What is 17 minus 14?\n\nA: 3\n\nQ: What is 20 minus 5?\n\nA: 15\n\nQ: What is 33 minus 88?\n\nA:"
    )
    assert shown("multi30k_en_de") == (
        "A group of men are loading cotton onto a truck = Eine Gruppe von Männern lädt Baumwolle auf einen Lastwagen\n"
        "A man sleeping in a green room on a couch. = Ein Mann schläft in einem grünen Raum auf einem Sofa.\n"
        "A boy wearing headphones sits on a woman's shoulders. ="
    )
    assert shown("webquestions").endswith(
        "Q: What state does selena gomez?\n\nA: New York City\n\nQ: What country is the grand bahama island in?\n\nA:"
    )


HERE = [
    task
    for name, task in TASKS.items()
    if not name.startswith(("wikitext", "wmt", "reversed", "ptb", "one_b", "enwik8", "text8"))
    and name
    not in ("coqa", "quac", "squad2", "drop", "triviaqa", "webquestions_test", "cnn_dailymail", "cnn_dailymail_no_hint")
]


@pytest.mark.parametrize("task", HERE, ids=lambda task: task.name)
def test_every_set_runs_as_it_is(task: Task, shared_data: Path) -> None:
    """All rows are items, examples can be drawn, and what is right is judged so."""
    loaded = load_task(task, shared_data / "tasks", shots=2)
    assert loaded.pool is not None
    assert len(definition_digest(task)) == 64
    items = [make_item(task, loaded.rows, number) for number in loaded.numbers]
    assert len(items) in (len(loaded.rows), 2000)
    item = items[0]
    if isinstance(item, Question):
        best = {
            metric.name: metric.over([metric.value(item, Outcome(text=item.answers[0]))]) for metric in task.metrics
        }
        own = best[task.metrics[0].name]
        assert own == pytest.approx(1) or own == pytest.approx(100) or (task.name.startswith("cnn") and own > 80)
        for metric in task.metrics:
            nothing = metric.over([metric.value(item, Outcome(text=""))])
            assert nothing == 0 or "3_average" in metric.name


@pytest.mark.parametrize("name", ["wikitext2", "wikitext2_whole", "wikitext2_tokenized"])
def test_wikitext_is_whole_in_its_articles(name: str, shared_data: Path) -> None:
    loaded = load_task(TASKS[name], shared_data / "tasks", shots=0)
    items = [make_item(loaded.task, loaded.rows, number) for number in loaded.numbers]
    assert len(items) == (1 if name.endswith("whole") else 60)
    texts = [item.original for item in items if isinstance(item, Passage)]
    assert "".join(texts) == (shared_data / "wikitext2" / "test.txt").read_bytes().decode()
    # What the figures published for the set are over.
    assert sum(map(language_modelling.words_and_line_ends, texts)) == 245_569


def test_lede_3_is_far_better_than_chance(shared_data: Path) -> None:
    task = TASKS["cnn_dailymail_sample"]
    loaded = load_task(task, shared_data / "tasks", shots=0)
    items = [make_item(task, loaded.rows, number) for number in loaded.numbers]
    lede, drawn = (
        metric.over([metric.value(item, Outcome(text="")) for item in items])
        for metric in task.metrics
        if metric.name.endswith("3_average")
    )
    assert lede > drawn + 5
