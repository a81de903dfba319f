"""Original layouts of the sets that are not here, in small files written by hand."""

import gzip
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from ensue.evaluate.loading import load_task, make_item
from ensue.evaluate.task import Item, Outcome, Passage, Question, Target, Task
from ensue.evaluate.tasks.arithmetic import TASKS as ARITHMETIC
from ensue.evaluate.tasks.closed_book import TRIVIAQA, WEBQUESTIONS_TEST
from ensue.evaluate.tasks.comprehension import COQA, DROP, QUAC, SQUAD2
from ensue.evaluate.tasks.lambada import LAMBADA
from ensue.evaluate.tasks.language_modelling import (
    ENWIK8,
    ONE_BILLION_WORDS,
    PIECE,
    PTB,
    TEXT8,
    WIKITEXT103,
    plain_text,
)
from ensue.evaluate.tasks.scrambling import TASKS as SCRAMBLING
from ensue.evaluate.tasks.summarisation import TASKS as SUMMARIES
from ensue.evaluate.tasks.translation import TASKS as TRANSLATIONS
from ensue.evaluate.user_tasks import chosen_tasks


def items_of(task: Task, folder: Path) -> list[Item]:
    loaded = load_task(task, folder, shots=0)
    return [make_item(task, loaded.rows, number) for number in loaded.numbers]


def written(folder: Path, name: str, content: Any) -> None:
    text = content if isinstance(content, str) else json.dumps(content)
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text(text, encoding="utf-8")


def value(task: Task, name: str, item: Item, text: str) -> float:
    metric = next(metric for metric in task.metrics if metric.name == name)
    return float(metric.over([metric.value(item, Outcome(text=text))]))


COQA_STORY: Mapping[str, Any] = {
    "story": "Helsinki is the capital of Finland. \n",
    "questions": [{"input_text": "what is the capital?", "turn_id": 1}, {"input_text": "of what?", "turn_id": 2}],
    "answers": [{"input_text": "Helsinki", "span_text": "H"}, {"input_text": "Finland", "span_text": "F"}],
    "additional_answers": {
        "0": [{"input_text": "helsinki"}, {"input_text": "of Finland"}],
        "1": [{"input_text": "the town"}, {"input_text": "Finland."}],
    },
}


def test_coqa(tmp_path: Path) -> None:
    written(tmp_path, "coqa-dev-v1.0.json", {"version": "1.0", "data": [COQA_STORY]})
    first, second = items_of(COQA, tmp_path)
    assert second == Question(
        "Helsinki is the capital of Finland.\n\nQ: what is the capital?\n\nA: Helsinki\n\nQ: of what?\n\nA:",
        (" Finland", " of Finland", " Finland."),
    )
    assert isinstance(first, Question)
    assert first.context == "Helsinki is the capital of Finland.\n\nQ: what is the capital?\n\nA:"
    # Against the two others each time: "of finland" or "finland", "finland" twice, "finland" or "of finland".
    assert value(COQA, "f1", second, " finland") == 1
    assert value(COQA, "exact_match", second, "of Finland!") == pytest.approx(2 / 3)


def test_coqa_of_hugging_face(tmp_path: Path) -> None:
    row = {
        "story": COQA_STORY["story"],
        "questions": [turn["input_text"] for turn in COQA_STORY["questions"]],
        "answers": {"input_text": [turn["input_text"] for turn in COQA_STORY["answers"]]},
    }
    written(tmp_path, "coqa-dev-v1.0.jsonl", json.dumps(row) + "\n")
    _, second = items_of(COQA, tmp_path)
    assert isinstance(second, Question)
    assert second.answers == (" Finland",)


def test_quac(tmp_path: Path) -> None:
    asked = [
        {"question": "who?", "answers": [{"text": "Bears"}, {"text": "the Bears"}], "orig_answer": {"text": "Bears"}},
        {"question": "why?", "answers": [{"text": "CANNOTANSWER"}], "orig_answer": {"text": "CANNOTANSWER"}},
        {"question": "when?", "answers": [{"text": "1985"}], "orig_answer": {"text": "1985"}},
    ]
    paragraph = {"context": "In 1985 the Bears. CANNOTANSWER", "qas": asked}
    article = {"title": "William Perry", "section_title": "Career", "paragraphs": [paragraph]}
    written(tmp_path, "val_v0.2.json", {"data": [article]})
    assert items_of(QUAC, tmp_path)[2] == Question(
        "TITLE: William Perry - Career\nPARAGRAPH: In 1985 the Bears.\n\nQ: who?\n\nA: Bears\n\nQ: why?\n\n"
        "A: unanswerable\n\nQ: when?\n\nA:",
        (" 1985",),
    )


def test_squad2(tmp_path: Path) -> None:
    asked = [
        {"question": "How many sorties?", "answers": [{"text": "4,000"}, {"text": "4,000 sorties"}]},
        {"question": "Who lost?", "answers": [], "is_impossible": True},
    ]
    article = {"title": "The_Blitz", "paragraphs": [{"context": "The Luftwaffe flew 4,000 sorties.", "qas": asked}]}
    written(tmp_path, "dev-v2.0.json", {"data": [article]})
    answered, none = items_of(SQUAD2, tmp_path)
    assert isinstance(none, Question)
    assert none.context == (
        "Title: The Blitz\n\nBackground: The Luftwaffe flew 4,000 sorties.\n\nQ: How many sorties?\n\nA: 4,000\n\n"
        "Q: Who lost?\n\nA:"
    )
    assert value(SQUAD2, "exact_match", answered, " 4,000 Sorties") == 1
    assert value(SQUAD2, "f1", none, "") == value(SQUAD2, "f1", none, " Unanswerable.") == 1
    assert value(SQUAD2, "f1", none, " France") == 0


def test_drop(tmp_path: Path) -> None:
    def answer(number: str = "", spans: tuple[str, ...] = (), **date: str) -> dict[str, Any]:
        return {"number": number, "spans": list(spans), "date": {"day": "", "month": "", "year": "", **date}}

    asked = [
        {"question": "How many?", "answer": answer("4"), "validated_answers": [answer(spans=("four",)), answer()]},
        {"question": "Who?", "answer": answer(spans=("Ann", "Bob"))},
        {"question": "When?", "answer": answer(month="May", year="1629")},
    ]
    written(tmp_path, "drop_dataset_dev.json", {"nfl_1": {"passage": "A Jesuit. ", "qa_pairs": asked}})
    many, who, when = items_of(DROP, tmp_path)
    assert many == Question(
        "Passage: A Jesuit.\n\nQuestion: How many?\n\nAnswer:", (" 4", " four"), (("4",), ("four",))
    )
    assert isinstance(who, Question)
    assert isinstance(when, Question)
    assert (who.answers, when.answers) == ((" Ann, Bob",), (" May 1629",))
    assert value(DROP, "f1", who, " Ann") == 0.5
    assert value(DROP, "exact_match", many, " 4.0") == 1


def test_triviaqa(tmp_path: Path) -> None:
    answer = {"Value": "MARCEL DUCHAMP", "Aliases": ["r mutt", "Duchamp", "MARCEL DUCHAMP"], "NormalizedAliases": []}
    written(tmp_path, "triviaqa_dev.json", {"Data": [{"Question": "Who painted it?", "Answer": answer}]})
    [item] = items_of(TRIVIAQA, tmp_path)
    assert item == Question("Q: Who painted it?\n\nA:", (" MARCEL DUCHAMP", " r mutt", " Duchamp"))
    assert value(TRIVIAQA, "exact_match", item, " Marcel Duchamp.") == 1
    (tmp_path / "triviaqa_dev.json").unlink()
    row = {"question": "Who painted it?", "answer": {"value": "MARCEL DUCHAMP", "aliases": ["r mutt", "Duchamp"]}}
    written(tmp_path, "triviaqa_dev.jsonl", json.dumps(row))
    assert items_of(TRIVIAQA, tmp_path) == [item]


def test_webquestions(tmp_path: Path) -> None:
    target = '(list (description "J. \\"Jaz\\" Bieber") (description Paris) (description "Rome (Italy)"))'
    written(tmp_path, "webquestions_test.json", [{"url": "x", "targetValue": target, "utterance": "who is it?"}])
    [item] = items_of(WEBQUESTIONS_TEST, tmp_path)
    assert item == Question("Q: Who is it?\n\nA:", (' J. "Jaz" Bieber', " Paris", " Rome (Italy)"))


def test_arithmetic_and_words_as_released(tmp_path: Path) -> None:
    row = {"context": "\n\nQ: What is 1 plus 2?\n\nA:", "completion": " 3"}
    written(tmp_path, "gpt3_arithmetic/two_digit_addition.jsonl", json.dumps(row))
    written(tmp_path, "gpt3_arithmetic/two_digit_subtraction.jsonl", json.dumps({**row, "completion": " -1"}))
    assert [items_of(task, tmp_path) for task in ARITHMETIC[:2]] == [
        [Question(row["context"], (" 3",))],
        [Question(row["context"], (" -1",))],
    ]
    backwards = next(task for task in SCRAMBLING if task.name == "reversed_words")
    with gzip.open(tmp_path / "gpt3_reversed_words.jsonl.gz", "wt", encoding="utf-8") as file:
        file.write(json.dumps({"context": "\ntaefed =", "completion": " defeat"}) + "\n")
    assert items_of(backwards, tmp_path) == [Question("\ntaefed =", (" defeat",))]


def test_lambada_as_released(tmp_path: Path) -> None:
    written(tmp_path, "lambada_test.jsonl", json.dumps({"text": 'A fox.\n\n"I can make it on my own," said Shane'}))
    assert items_of(LAMBADA, tmp_path) == [Target('A fox.\n\n"I can make it on my own," said', " Shane")]


def test_summaries_of_hugging_face(tmp_path: Path) -> None:
    written(
        tmp_path, "cnn_dailymail_test.jsonl", json.dumps({"article": "One. Two.", "highlights": "Two .", "id": "1"})
    )
    [item] = items_of(SUMMARIES[0], tmp_path)
    assert item == Question("One. Two.\nTL;DR:", (" Two .",), "One. Two.")


ENGLISH, FRENCH = "A fox & a crow.\nIt sings.\n", "Un renard et un corbeau.\nIl chante.\n"
SGM = '<refset><doc docid="1"><p><seg id="1">{}</seg>\n<seg id="2"> {} </seg></p></doc></refset>'


@pytest.mark.parametrize("layout", ["folder", "beside", "sgm", "rows", "translation"])
def test_parallel_text(tmp_path: Path, layout: str) -> None:
    task = next(task for task in TRANSLATIONS if task.name == "wmt14_fr_en")
    name = "wmt14_fr_en_test"
    pairs = list(zip(ENGLISH.splitlines(), FRENCH.splitlines(), strict=True))
    if layout == "folder":
        written(tmp_path, f"{name}/newstest.en", ENGLISH)
        written(tmp_path, f"{name}/newstest.fr", FRENCH)
    elif layout == "beside":
        written(tmp_path, f"{name}.en", ENGLISH)
        written(tmp_path, f"{name}.fr", FRENCH)
    elif layout == "sgm":
        written(tmp_path, f"{name}/ref.fr.sgm", SGM.format(*FRENCH.splitlines()))
        written(tmp_path, f"{name}/src.en.sgm", SGM.format(*ENGLISH.replace("&", "&amp;").splitlines()))
    else:
        rows = [{"en": en, "fr": fr} for en, fr in pairs]
        lines = rows if layout == "rows" else [{"translation": row} for row in rows]
        written(tmp_path, f"{name}.jsonl", "".join(json.dumps(line) + "\n" for line in lines))
    assert items_of(task, tmp_path) == [
        Question("Un renard et un corbeau. =", (" A fox & a crow.",)),
        Question("Il chante. =", (" It sings.",)),
    ]


def test_parallel_text_that_is_not(tmp_path: Path) -> None:
    task = next(task for task in TRANSLATIONS if task.name == "wmt14_fr_en")
    written(tmp_path, "wmt14_fr_en_test/newstest.en", ENGLISH)
    with pytest.raises(ValueError, match=r"has no file NAME\.fr beside"):
        load_task(task, tmp_path, shots=0)
    written(tmp_path, "wmt14_fr_en_test/newstest.fr", FRENCH + "Encore.\n")
    with pytest.raises(ValueError, match="en 2, fr 3"):
        load_task(task, tmp_path, shots=0)


def passages(task: Task, folder: Path) -> list[Passage]:
    return [item for item in items_of(task, folder) if isinstance(item, Passage)]


def test_language_modelling_sets(tmp_path: Path) -> None:
    wiki = " \n = Fox = \n \n A fox , red . \n = = Crow = = \n It 's black . \n \n = Crow = \n \n Sings . \n"
    written(tmp_path, "wikitext-103/wiki.test.tokens", wiki)
    fox, crow = passages(WIKITEXT103, tmp_path)
    assert fox.original + crow.original == wiki
    assert fox.text == "\n= Fox =\n\nA fox, red.\n== Crow ==\nIt's black.\n"
    written(tmp_path, "ptb.test.txt", " no it was n't black monday \n but mr. <unk> 's gone \n")
    [treebank] = passages(PTB, tmp_path)
    assert treebank.text == "no it wasn't black monday\nbut mr. <unk>'s gone\n"
    written(tmp_path, "one_billion_words/news.en.heldout-00000-of-00050", "Don 't !\nA fox .\n")
    written(tmp_path, "one_billion_words/news.en.heldout-00001-of-00050", "It sings .\n")
    assert [news.text for news in passages(ONE_BILLION_WORDS, tmp_path)] == ["Don't!\n", "A fox.\n", "It sings.\n"]


def test_a_set_in_a_folder_of_its_own_may_stand_beside_the_tasks(tmp_path: Path) -> None:
    written(tmp_path, "wikitext-103/wiki.test.tokens", " \n = Fox = \n \n A fox . \n")
    written(tmp_path, "tasks/rocstories_test.jsonl", "{}")
    assert passages(WIKITEXT103, tmp_path / "tasks") == passages(WIKITEXT103, tmp_path)


def test_the_last_five_million_are_the_test_set(tmp_path: Path) -> None:
    (tmp_path / "text8").write_bytes(b" first" * 10 + b" other" * 833_333 + b"no")
    texts = passages(TEXT8, tmp_path)
    assert sum(len(text.text) for text in texts) == 5_000_000
    assert texts[0].text.startswith(" other")
    assert all(text.text.endswith(" ") and len(text.text) <= PIECE for text in texts[:-1])
    (tmp_path / "enwik8").write_bytes("<a>狐狸\n".encode() * 700_000)
    pieces = passages(ENWIK8, tmp_path)
    # A character that the cut goes through is left out.
    assert 5_000_000 - 3 < sum(len(piece.text.encode()) for piece in pieces) <= 5_000_000
    assert "�" not in pieces[0].text


def test_any_text_is_a_task(tmp_path: Path) -> None:
    text = "狐狸住在森林里。\n" * 5000 + "x" * (2 * PIECE)
    written(tmp_path, "fox.txt", text)
    task = plain_text(tmp_path / "fox.txt", stride=64)
    assert (task.name, task.stride) == ("fox", 64)
    pieces = passages(task, tmp_path)
    assert "".join(piece.text for piece in pieces) == text
    assert max(len(piece.text) for piece in pieces) <= PIECE
    written(tmp_path, "poems.jsonl", '{"text": "天地玄黃"}\n{"text": " "}\n{"text": "a\\r\\nb"}\n')
    assert [poem.text for poem in passages(plain_text(tmp_path / "poems.jsonl"), Path("nowhere"))] == [
        "天地玄黃",
        "a\r\nb",
    ]


def test_a_text_is_asked_for_by_its_path(tmp_path: Path) -> None:
    written(tmp_path, "fox.txt", "狐狸住在森林里。\n")
    [fox, lambada] = chosen_tasks([str(tmp_path / "fox.txt"), "lambada"])
    assert [passage.text for passage in passages(fox, Path("nowhere"))] == ["狐狸住在森林里。\n"]
    assert lambada is LAMBADA
    [missing] = chosen_tasks([str(tmp_path / "crow.txt")])
    with pytest.raises(FileNotFoundError, match=r"crow\.txt"):
        load_task(missing, tmp_path, shots=0)
