"""What lm-evaluation-harness sends for the same rows: the same text, or one that differs in a way written down here."""

import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml

from ensue.evaluate.loading import make_item
from ensue.evaluate.task import Item, Question, Row, Target, Task
from ensue.evaluate.tasks.arithmetic import TASKS as ARITHMETIC
from ensue.evaluate.tasks.closed_book import NATURAL_QUESTIONS, WEBQUESTIONS
from ensue.evaluate.tasks.comprehension import DROP
from ensue.evaluate.tasks.lambada import LAMBADA, LAMBADA_CLOZE
from ensue.evaluate.tasks.scrambling import TASKS as SCRAMBLING
from ensue.evaluate.tasks.translation import by_instruction
from ensue.evaluate.tasks.word_problems import GSM8K, final_number, last_number

jinja2 = pytest.importorskip("jinja2")
harness = pytest.importorskip("lm_eval")

ROWS = (0, 1, 7, 100)


class Loader(yaml.SafeLoader):
    """Functions by name alone."""


Loader.add_constructor("!function", lambda loader, node: str(node.value))


def settings_of(path: str) -> Mapping[str, Any]:
    """A task's file with those that it includes."""
    file = Path(harness.__file__).parent / "tasks" / path
    own = yaml.load(file.read_text(encoding="utf-8"), Loader=Loader)
    if "include" not in own:
        return dict(own)
    return {**settings_of(str(Path(path).parent / own["include"])), **own}


def sent(path: str, row: Row) -> tuple[str, str]:
    """What the harness makes of a row: the context, and with its delimiter the target."""
    settings = settings_of(path)
    context, target = (
        jinja2.Environment(keep_trailing_newline=True).from_string(settings[part]).render(**row)
        for part in ("doc_to_text", "doc_to_target")
    )
    return context, settings.get("target_delimiter", " ") + target


def ours(item: Item) -> tuple[str, str]:
    if isinstance(item, Question):
        return item.context, item.answers[0]
    assert isinstance(item, Target)
    return item.context, item.continuation


def compared(
    task: Task, path: str, published: Callable[[Task], Sequence[Row]], row_of: Callable[[Row], Row] = dict
) -> list[tuple[tuple[str, str], tuple[str, str]]]:
    rows = [row for row in published(task) if task.keep is None or task.keep(row)]
    return [(ours(make_item(task, rows, number)), sent(path, row_of(rows[number]))) for number in ROWS]


def whole_text(row: Row) -> Row:
    return {"text": f"{row['context']} {row['target']}"}


def test_lambada_is_the_same(published: Callable[[Task], Sequence[Row]]) -> None:
    for mine, theirs in compared(LAMBADA, "lambada/lambada_openai.yaml", published, whole_text):
        assert (mine[0], mine[1]) == (theirs[0], theirs[1].removeprefix(" "))


def test_lambada_cloze_has_the_papers_header_and_blank(published: Callable[[Task], Sequence[Row]]) -> None:
    for mine, theirs in compared(LAMBADA_CLOZE, "lambada_cloze/lambada_openai_cloze.yaml", published, whole_text):
        assert mine[0].replace(" ___. ->", " ____. ->") == theirs[0]
    assert "description" not in settings_of("lambada_cloze/lambada_openai_cloze.yaml")
    assert LAMBADA_CLOZE.header == "Fill in blank:\n\n"


def test_gsm8k_is_the_same_and_so_are_the_numbers_read(published: Callable[[Task], Sequence[Row]]) -> None:
    for mine, theirs in compared(GSM8K, "gsm8k/gsm8k.yaml", published):
        assert mine == theirs
    from lm_eval.api.metrics import exact_match_hf_evaluate
    from lm_eval.filters.extraction import RegexFilter

    settings = settings_of("gsm8k/gsm8k.yaml")
    ignored = settings["metric_list"][0]["regexes_to_ignore"]
    written = [
        " So 2+1=<<2+1=3>>3.\n#### 1,003",
        " It is $1,003. #### 12\n#### 1003",
        " about -1003.",
        " none",
        " #### -5.",
        " cost 3 and then $1,003.",
    ]
    for filtered, read in zip(settings["filter_list"], (final_number, last_number), strict=True):
        rule = {key: value for key, value in filtered["filter"][0].items() if key != "function"}
        for right in ("1003", "12", "-5"):
            for text in written:
                [[found]] = RegexFilter(**rule).apply([[text]], [{}])
                theirs = exact_match_hf_evaluate([found], [f"so\n#### {right}"], regexes_to_ignore=ignored)
                assert float(read(text) == right) == theirs["exact_match"], (text, right)


def test_arithmetic_is_as_released_where_the_harness_changes_it(published: Callable[[Task], Sequence[Row]]) -> None:
    task = next(task for task in ARITHMETIC if task.name == "two_digit_addition_likelihood")
    for mine, theirs in compared(task, "arithmetic/arithmetic_2da.yaml", published):
        assert mine == theirs
        # The harness then strips it, halves its blank lines and spells Question: and Answer: out.
        changed = mine[0].strip().replace("\n\n", "\n").replace("Q:", "Question:").replace("A:", "Answer:")
        assert re.fullmatch(r"Question: What is \d+ plus \d+\?\nAnswer:", changed)


@pytest.mark.parametrize(
    ("name", "file"), [("mid_word_1_anagrams", "anagrams1"), ("random_insertion_in_word", "random_insertion")]
)
def test_scrambled_words_have_the_papers_header(
    name: str, file: str, published: Callable[[Task], Sequence[Row]]
) -> None:
    task = next(task for task in SCRAMBLING if task.name == name)
    for mine, theirs in compared(task, f"unscramble/{file}.yaml", published):
        # The harness puts its space before a completion that has one already.
        assert (mine[0], f" {mine[1]}") == theirs
    assert "description" not in settings_of(f"unscramble/{file}.yaml")


def test_questions_are_laid_out_as_in_the_papers_figures(published: Callable[[Task], Sequence[Row]]) -> None:
    def first_answer(row: Row) -> Row:
        return {"question": row["question"], "answer": row["answers"][0]}

    for mine, theirs in compared(NATURAL_QUESTIONS, "nq_open/nq_open.yaml", published, first_answer):
        assert mine[0].replace("\n\nA:", "\nA:").lower() == theirs[0].lower()
        assert mine[1] == theirs[1]
    for mine, theirs in compared(
        WEBQUESTIONS, "webqs/webqs.yaml", published, lambda row: {**first_answer(row), "doc_to_target": ""}
    ):
        assert mine[0].replace("Q: ", "Question: ").replace("\n\nA:", "\nAnswer:").lower() == theirs[0].lower()


def test_drop_is_laid_out_as_in_the_papers_figure() -> None:
    row = {"passage": "A Jesuit.", "question": "How many?", "answers": [["4"]], "answer": ["4"]}
    [mine, theirs] = ours(DROP.item(row)), sent("drop/default.yaml", row)
    assert mine[0] == "Passage: A Jesuit.\n\nQuestion: How many?\n\nAnswer:"
    assert theirs[0] == "A Jesuit. How many?"


def test_translation_is_asked_for_in_the_papers_words() -> None:
    row = {"en": "A fox.", "fr": "Un renard."}
    assert ours(by_instruction("en", "fr")(row)) == ("Q: What is the French translation of A fox. A:", " Un renard.")
    assert sent("translation/wmt14_en-fr.yaml", {"translation": row})[0] == "English phrase: A fox.\nFrench phrase:"


def test_wikitext_is_cut_into_the_same_articles_and_written_out_otherwise(shared_data: Path) -> None:
    from lm_eval.tasks.wikitext.preprocess_wikitext import wikitext_detokenizer

    from ensue.evaluate.detokenizers import WIKITEXT
    from ensue.evaluate.tasks.language_modelling import articles, words

    pages = [row["text"] for row in articles(str(shared_data / "wikitext2" / "test.txt"))][:12]
    # Two sets of rules that make about the same of it; ours can be undone.
    theirs = sum(len(wikitext_detokenizer({"page": page})) for page in pages)
    mine = sum(len(WIKITEXT.apply(page)) for page in pages)
    assert abs(mine - theirs) < 0.01 * theirs
    # It counts an empty word before the first and after the last; what is published counts line ends.
    assert sum(len(re.split(r"\s+", page)) for page in pages) == sum(words(page) + 2 for page in pages)
