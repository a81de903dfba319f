"""Texts beside those of lm-evaluation-harness on the same rows: equal, or different in a way that is written here."""

from pathlib import Path

import pytest

from ensue.evaluate.tasks.blimp import BLIMP
from ensue.evaluate.tasks.inference import TASKS as INFERENCE
from ensue.evaluate.tasks.multiple_choice import ARC_EASY, COPA, HELLASWAG, OPENBOOKQA, PIQA
from ensue.evaluate.tasks.story_cloze import ROCSTORIES
from ensue.evaluate.tasks.superglue import BOOLQ, COMMITMENT_BANK, RTE, WIC
from ensue.evaluate.tasks.winograd import WINOGRAD, WINOGRANDE

lm_eval = pytest.importorskip("lm_eval", reason="lm-evaluation-harness is not installed")
ROWS = 80


@pytest.fixture(scope="module")
def harness():
    """What the harness makes of a document by a task's file: context and choices, as it would send them."""
    import yaml
    from lm_eval.utils import apply_template

    class Loader(yaml.SafeLoader):
        """Functions are left out: they are called here by name."""

    Loader.add_multi_constructor("!function", lambda loader, suffix, node: None)

    def texts(file, document):
        place = Path(lm_eval.__file__).parent / "tasks" / file
        config = yaml.load(place.read_text(encoding="utf-8"), Loader=Loader)
        template = config["doc_to_text"]
        context = document[template] if template in document else apply_template(template, document)
        choices = config["doc_to_choice"]
        if isinstance(choices, str):
            choices = document[choices] if choices in document else eval(apply_template(choices, document))
        return context, list(choices)

    return texts


def ours(task, row):
    """A shared context and the continuations without the space that parts them."""
    options = task.item(row).options
    assert len({option.context for option in options}) == 1
    return options[0].context, [option.continuation.removeprefix(" ") for option in options]


def questions(row):
    return {**row, "choices": {"text": row["choices"], "label": "ABCDE"[: len(row["choices"])]}}


def test_arc_is_the_same(published, harness):
    for row in published(ARC_EASY)[:ROWS]:
        assert ours(ARC_EASY, row) == harness("arc/arc_easy.yaml", questions(row))


def test_openbookqa_ends_its_choices_with_a_full_stop(published, harness):
    for row in published(OPENBOOKQA)[:ROWS]:
        context, choices = harness("openbookqa/openbookqa.yaml", {"question_stem": row["question"], **questions(row)})
        ended = [choice if choice.endswith((".", "?", "!")) else choice + "." for choice in choices]
        assert ours(OPENBOOKQA, row) == (context, ended)


def test_piqa_has_the_goal_alone(published, harness):
    for row in published(PIQA)[:ROWS]:
        document = {"goal": row["goal"], "sol1": row["choices"][0], "sol2": row["choices"][1]}
        context, choices = harness("piqa/piqa.yaml", document)
        goal, ways = ours(PIQA, row)
        assert f"Question: {goal}\nAnswer:" == context
        assert ways == [choice.strip() for choice in choices]


def test_hellaswag_is_the_same_but_for_names_in_the_sentence_broken_off(published):
    utils = pytest.importorskip("lm_eval.tasks.hellaswag.utils")
    different = 0
    for row in published(HELLASWAG)[:ROWS]:
        label, _, text = row["context"].partition(": ")
        start = text.rfind(". ") + 2 if not text.endswith(".") else len(text)
        document = {
            "activity_label": label,
            "ctx_a": text[:start].rstrip(),
            "ctx_b": text[start:],
            "endings": row["choices"],
            "label": row["label"],
        }
        begun = f"{document['ctx_a']} {document['ctx_b'].capitalize()}"
        context, choices = ours(HELLASWAG, document)
        assert choices == [utils.preprocess(ending) for ending in row["choices"]]
        assert context == ours(HELLASWAG, row)[0]
        theirs = utils.preprocess(f"{label}: {begun}")
        assert context.lower() == theirs.lower().strip()  # they leave a space where nothing is broken off
        different += context != theirs.strip()
    assert different < ROWS / 20


def test_story_cloze_is_the_same(published, harness):
    for row in published(ROCSTORIES)[:ROWS]:
        document = {f"input_sentence_{place}": text for place, text in enumerate((row["context"], "", "", ""), 1)}
        document |= {"sentence_quiz1": row["ending1"], "sentence_quiz2": row["ending2"]}
        context, choices = harness("storycloze/storycloze_2016.yaml", document)
        assert ours(ROCSTORIES, row) == (context.rstrip(), choices)


def test_copa_keeps_the_capital_of_i(published):
    utils = pytest.importorskip("lm_eval.tasks.super_glue.copa.utils")
    for row in published(COPA):
        document = {**row, "question": row["asks_for"], "choice1": row["choices"][0], "choice2": row["choices"][1]}
        context, choices = ours(COPA, row)
        assert context == utils.doc_to_text(document)
        theirs = [choice.strip() for choice in utils.doc_to_choice(document)]
        assert [choice if not choice.startswith("I") else "i" + choice[1:] for choice in choices] == theirs


def test_boolq_and_rte_write_question_and_answer_small(published, harness):
    for row in published(BOOLQ)[:ROWS]:
        context, choices = harness("super_glue/boolq/default.yaml", row)
        assert ours(BOOLQ, row) == (_small(context), choices)
    for row in published(RTE)[:ROWS]:
        context, choices = harness("super_glue/rte/default.yaml", row)
        assert ours(RTE, row) == (_small(context), choices)


def test_the_commitment_bank_writes_its_labels_small(harness):
    row = {"premise": "No, cheap it is not.", "hypothesis": "Manhattan comes cheap", "label": 1}
    context, choices = harness("super_glue/cb/default.yaml", row)
    small = _small(context).replace("True, False, or Neither", "true, false, or neither")
    assert ours(COMMITMENT_BANK, row) == (small, [choice.lower() for choice in choices])


def test_wic_does_not_count_its_sentences(published, harness):
    for row in published(WIC)[:ROWS]:
        marked = {**row, "sentence1": row["sentence1"], "start1": 0, "end1": 0}
        context, choices = harness("super_glue/wic/default.yaml", marked)
        theirs = _small(context.replace("Sentence 1: ", "").replace("Sentence 2: ", ""))
        assert ours(WIC, row) == (theirs.replace("the word ''", f"the word '{row['word']}'"), choices)


def test_anli_names_its_round_and_asks_for_no_answer(harness):
    row = {"premise": "It is by the road.", "hypothesis": "It is far.", "label": 2}
    context, choices = harness("anli/anli_r1.yaml", row)
    assert ours(INFERENCE[0], row) == (f"anli 1: anli 1: {context.removesuffix(chr(10) + 'Answer:')}", choices)


def test_snli_and_sick_are_asked_as_the_harness_asks_anli(harness):
    row = {"premise": "It is by the road.", "hypothesis": "It is far.", "label": 2}
    for task in INFERENCE[3:5]:
        assert ours(task, row) == harness("anli/anli_r1.yaml", row)


def test_blimp_has_the_same_sentences(published, harness):
    for row in published(BLIMP)[:ROWS]:
        context, choices = harness("blimp/_template_yaml", row)
        item = BLIMP.item(row)
        assert context == item.options[0].context == ""
        assert item.options[item.answer].continuation == choices[0]
        assert {option.continuation for option in item.options} == set(choices)


def test_winogrande_is_the_same(published):
    utils = pytest.importorskip("lm_eval.tasks.winogrande.preprocess_winogrande")
    for row in published(WINOGRANDE):
        document = {"sentence": row["text"], "option1": row["choices"][0], "option2": row["choices"][1]}
        rest = utils.doc_to_target(document)
        theirs = [(context, f" {rest}") for context in utils.doc_to_choice(document)]
        assert [(option.context, option.continuation) for option in WINOGRANDE.item(row).options] == theirs


def test_winograd_is_the_same_but_for_capitals_after_an_exclamation(published):
    """The harness reads the set with its pronouns; they are put back here, by whether the candidates are somebody's."""
    utils = pytest.importorskip("lm_eval.tasks.wsc273.utils")
    normalize = vars(utils)["__normalize_option"]
    different = []
    for row in published(WINOGRAD):
        options = WINOGRAD.item(row).options
        pronoun = "his" if all(option.context.endswith("'s") for option in options) else "it"
        text = row["text"].replace(" .", ".")
        place = text.index("_")
        document = {"text": text.replace("_", pronoun), "pronoun": pronoun, "pronoun_loc": place}
        candidates = [normalize(document, choice) for choice in row["choices"]]
        theirs = [(text[:place] + candidate, text[place + 1 :]) for candidate in candidates]
        if [(option.context, option.continuation) for option in options] != theirs:
            different.append(text)
    assert len(different) == 2
    assert all("that duck! _" in text for text in different)


def _small(context):
    return context.replace("\nQuestion: ", "\nquestion: ").replace("\nAnswer:", "\nanswer:")
