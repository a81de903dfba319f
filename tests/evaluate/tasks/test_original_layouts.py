"""Rows as the sets' publishers lay them out become the same items as those of the files here."""

import json

import pytest

from ensue.evaluate.rows import read_rows
from ensue.evaluate.splits import find_split
from ensue.evaluate.tasks.first_paper import GPT_COLA, GPT_SST2
from ensue.evaluate.tasks.inference import MRPC, SICK, SNLI
from ensue.evaluate.tasks.inference import TASKS as INFERENCE
from ensue.evaluate.tasks.multiple_choice import ARC_CHALLENGE, ARC_EASY, COPA, HELLASWAG, OPENBOOKQA, PIQA
from ensue.evaluate.tasks.published import label_of, one_of, sentence
from ensue.evaluate.tasks.reading import RACE_HIGH, race_rows
from ensue.evaluate.tasks.story_cloze import ROCSTORIES
from ensue.evaluate.tasks.superglue import BOOLQ, COMMITMENT_BANK, RTE, WIC
from ensue.evaluate.tasks.winograd import WINOGRAD, WINOGRANDE

ANLI = INFERENCE[1]
TEXTS = ["dry palms", "wet palms", "palms covered with oil", "palms covered with lotion"]
WARM = "George wants to warm his hands quickly by rubbing them. Which skin surface will produce the most heat?"
SAME = {
    "arc": (
        ARC_CHALLENGE,
        {"question": WARM, "choices": TEXTS, "label": 0},
        {
            "question": {
                "stem": WARM,
                "choices": [{"text": text, "label": letter} for text, letter in zip(TEXTS, "ABCD", strict=True)],
            },
            "answerKey": "A",
        },
        {"question": WARM, "choices": {"text": TEXTS, "label": ["1", "2", "3", "4"]}, "answerKey": "1"},
    ),
    "openbookqa": (
        OPENBOOKQA,
        {"question": "Organisms require energy in order to do what?", "choices": ["rest", "grow"], "label": 1},
        {
            "question_stem": "Organisms require energy in order to do what?",
            "choices": {"text": ["rest", "grow"], "label": ["A", "B"]},
            "answerKey": "B",
        },
    ),
    "hellaswag": (
        HELLASWAG,
        {
            "context": "Canoeing: Two women are shown. the child",
            "choices": ["sits.", "sings.", "is.", "eats."],
            "label": 2,
        },
        {
            "activity_label": "Canoeing",
            "ctx_a": "Two women are shown.",
            "ctx_b": "the child",
            "endings": ["sits.", "sings.", "is.", "eats."],
            "label": "2",
        },
    ),
    "piqa": (
        PIQA,
        {"goal": "dresser", "choices": ["replace drawer with bobby pin ", "finish"], "label": 1},
        {"goal": "dresser", "sol1": "replace drawer with bobby pin ", "sol2": "finish", "label": 1},
    ),
    "copa": (
        COPA,
        {"premise": "I fell.", "asks_for": "effect", "choices": ["I got up.", "It rained."], "label": 0},
        {"premise": "I fell.", "question": "effect", "choice1": "I got up.", "choice2": "It rained.", "label": 0},
    ),
    "rocstories": (
        ROCSTORIES,
        {"context": "One. Two. Three. Four.", "ending1": "Five.", "ending2": "Six.", "label": 1},
        {
            **{f"InputSentence{place}": text for place, text in enumerate(("One.", "Two.", "Three.", "Four."), 1)},
            "RandomFifthSentenceQuiz1": "Five.",
            "RandomFifthSentenceQuiz2": "Six.",
            "AnswerRightEnding": "2",
        },
    ),
    "boolq": (
        BOOLQ,
        {"passage": "Fuel -- It burns.", "question": "does fuel burn", "label": 1},
        {"passage": "Fuel -- It burns.", "question": "does fuel burn", "label": True, "idx": 3},
        {"title": "Fuel", "passage": "It burns.", "question": "does fuel burn", "answer": True},
    ),
    "rte": (
        RTE,
        {"premise": "It rains.", "hypothesis": "It is wet.", "label": 1},
        {"premise": "It rains.", "hypothesis": "It is wet.", "label": "not_entailment", "idx": 0},
        {"sentence1": "It rains.", "sentence2": "It is wet.", "label": "not_entailment", "index": "0"},
    ),
    "cb": (
        COMMITMENT_BANK,
        {"premise": "No, cheap it is not.", "hypothesis": "Manhattan comes cheap", "label": 1},
        {"premise": "No, cheap it is not.", "hypothesis": "Manhattan comes cheap", "label": "contradiction"},
    ),
    "wic": (
        WIC,
        {"word": "draw", "sentence1": "The luck of the draw.", "sentence2": "A tough draw.", "label": 0},
        {
            "word": "draw",
            "sentence1": "The luck of the draw.",
            "sentence2": "A tough draw.",
            "label": False,
            "start1": 16,
        },
    ),
    "snli": (
        SNLI,
        {"premise": "He runs.", "hypothesis": "He moves.", "label": 0},
        {"sentence1": "He runs.", "sentence2": "He moves.", "gold_label": "entailment"},
    ),
    "sick": (
        SICK,
        {"premise": "He runs.", "hypothesis": "He moves.", "label": 1},
        {"sentence_A": "He runs.", "sentence_B": "He moves.", "entailment_label": "NEUTRAL"},
        {"sentence_A": "He runs.", "sentence_B": "He moves.", "entailment_judgment": "NEUTRAL"},
    ),
    "anli": (
        ANLI,
        {"premise": "It is by the road.", "hypothesis": "It is far.", "label": 2},
        {"context": "It is by the road.", "hypothesis": "It is far.", "label": "c"},
    ),
    "mrpc": (
        MRPC,
        {"sentence1": "It rains.", "sentence2": "Rain falls.", "label": 1},
        {"Quality": "1", "#1 String": "It rains.", "#2 String": "Rain falls."},
    ),
    "sst2": (
        GPT_SST2,
        {"text": "well-conceived", "label": 1},
        {"sentence": "well-conceived ", "label": "1"},
    ),
    "winogrande": (
        WINOGRANDE,
        {"text": "Sarah beat Maria so _ won.", "choices": ["Sarah", "Maria"], "label": 0},
        {"sentence": "Sarah beat Maria so _ won.", "option1": "Sarah", "option2": "Maria", "answer": "1"},
    ),
    "winograd": (
        WINOGRAD,
        {"text": "Patting _ back, the woman smiled.", "choices": ["The girl", "The woman"], "label": 0},
        {
            "text": "Patting  her back, the woman smiled.",
            "pronoun": "her",
            "pronoun_loc": 9,
            "options": ["The girl", "The woman"],
            "label": 0,
        },
    ),
}


@pytest.mark.parametrize("name", SAME)
def test_layouts_of_one_row_are_one_item(name):
    task, first, *others = SAME[name]
    for other in others:
        assert task.item(other) == task.item(first)


def test_what_the_papers_show():
    """GPT-3 (2020), figures G.7, G.11 and G.30; the rows are made up in their manner but for the last two."""
    assert ARC_CHALLENGE.item(SAME["arc"][1]).options[0].context == f"Question: {WARM}\nAnswer:"
    asked = COMMITMENT_BANK.item(SAME["cb"][1])
    assert asked.options[0].context.endswith("\nquestion: Manhattan comes cheap. true, false, or neither?\nanswer:")
    assert [option.continuation for option in asked.options] == [" true", " false", " neither"]
    assert asked.answer == 1
    entailed = ANLI.item(SAME["anli"][1])
    assert entailed.options[0].context == (
        "anli 2: anli 2: It is by the road.\nQuestion: It is far. True, False, or Neither?"
    )
    assert entailed.options[entailed.answer].continuation == " False"


def test_wikihow_marks_are_undone_and_other_brackets_stay():
    row = {
        "activity_label": "Home",
        "ctx_a": "[header] How to clean [title] Take a cloth. [step] Wipe [gently].",
        "ctx_b": "",
        "endings": ["Rinse. [substeps] Dry.", "Stop.", "Go.", "Wait."],
        "label": 0,
    }
    item = HELLASWAG.item(row)
    assert item.options[0].context == "Home: How to clean. Take a cloth. Wipe [gently]."
    assert item.options[0].continuation == " Rinse. Dry."


def test_only_the_sentence_that_is_broken_off_gets_a_capital():
    row = {"context": "High jump: He runs. He jumps. the boy", "choices": ["a", "b", "c", "d"], "label": 0}
    assert HELLASWAG.item(row).options[0].context == "High jump: He runs. He jumps. The boy"
    whole = {**row, "context": "Home: First, eat. then sleep well."}
    assert HELLASWAG.item(whole).options[0].context == whole["context"]


def test_an_effect_and_a_cause_keep_the_word_i():
    row = {"premise": "I fell.", "asks_for": "cause", "choices": ["I slipped.", "It was icy."], "label": 0}
    options = COPA.item(row).options
    assert [option.context + option.continuation for option in options] == [
        "I fell because I slipped.",
        "I fell because it was icy.",
    ]


def test_race_is_read_from_its_folder_and_from_rows(tmp_path):
    article = {
        "article": "It rained.\nThey stayed.",
        "questions": ["Why did they stay?", "The weather was _ ."],
        "options": [["rain", "sun", "snow", "fog"], ["dry", "wet", "hot", "windy"]],
        "answers": ["A", "B"],
        "id": "high1.txt",
    }
    folder = tmp_path / "race_high_test"
    folder.mkdir()
    (folder / "1.txt").write_text(json.dumps(article))
    rows = read_rows(find_split(tmp_path, "race_high_test", role="test", any_ending=True), RACE_HIGH.files)
    single = [
        {"article": article["article"], "question": question, "options": options, "answer": answer}
        for question, options, answer in zip(article["questions"], article["options"], article["answers"], strict=True)
    ]
    (tmp_path / "rows.jsonl").write_text("\n".join(map(json.dumps, single)))
    (tmp_path / "articles.jsonl").write_text(json.dumps(article))
    for name in ("rows.jsonl", "articles.jsonl"):
        assert [RACE_HIGH.item(row) for row in race_rows(str(tmp_path / name))] == [RACE_HIGH.item(row) for row in rows]
    second = RACE_HIGH.item(rows[1])
    assert second.options[0].context == (
        "Article:\nIt rained.\nThey stayed.\n\nQ: Why did they stay?\n\nA: rain\n\nQ: The weather was _ .\n\nA:"
    )
    assert second.options[second.answer].continuation == " wet"


def test_a_race_folder_without_articles_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"no \.txt files"):
        list(race_rows(str(tmp_path)))


def test_cola_is_read_as_it_is_published(tmp_path):
    (tmp_path / "cola_dev.tsv").write_text("gj04\t1\t\tThe dog ran.\nks08\t0\t*\tDog the ran.\n")
    rows = read_rows(find_split(tmp_path, "cola_dev", role="test", any_ending=True), GPT_COLA.files)
    assert [(item.text, item.key) for item in map(GPT_COLA.item, rows)] == [("The dog ran.", 1), ("Dog the ran.", 0)]


@pytest.mark.parametrize("label", [-1, "-1", "maybe", 2, "-", 0.5])
def test_a_label_that_is_none_is_refused(label):
    with pytest.raises(ValueError, match="its label is none of no, yes"):
        label_of({"label": label, "text": "x"}, "label", names=("no", "yes"))


@pytest.mark.parametrize("answer", ["0", "3", "", -1])
def test_a_place_that_is_none_is_refused(answer):
    row = {"sentence": "Sarah beat Maria so _ won.", "option1": "Sarah", "option2": "Maria", "answer": answer}
    with pytest.raises(ValueError, match="its label is none of 1, 2"):
        WINOGRANDE.item(row)


def test_an_empty_option_is_refused():
    with pytest.raises(ValueError, match="option 1, counted from 0, is empty"):
        ARC_EASY.item({"question": "Why?", "choices": ["so", " "], "label": 0})


def test_a_missing_column_is_named():
    with pytest.raises(ValueError, match="no column a or b"):
        one_of({"c": 1}, "a", "b")
    with pytest.raises(ValueError, match="no choices"):
        ARC_EASY.item({"question": "Why?", "label": 0})
    with pytest.raises(ValueError, match="its label is none of A, B"):
        ARC_EASY.item({"question": "Why?", "choices": {"text": ["so", "no"], "label": ["A", "B"]}, "answerKey": "1"})


@pytest.mark.parametrize(
    ("text", "ended"), [("grow", "grow."), ("grow.", "grow."), ('"Go!"', '"Go!"'), ("5%", "5%."), ("长大。", "长大。")]
)
def test_a_sentence_ends_once(text, ended):
    assert sentence(text) == ended


def test_pairs_without_a_label_are_left_out():
    assert [SNLI.keep({"gold_label": label}) for label in ("-", "neutral")] == [False, True]
    assert [SNLI.keep({"label": label}) for label in (-1, 0)] == [False, True]
