"""The rules of C4, Gopher and FineWeb, each at its edge; and good prose, which passes."""

from __future__ import annotations

import gzip
import json
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ensue.text.curation.step import DocumentStep, Verdict
from ensue.text.document import Document
from ensue.text.filters.c4 import C4Rules
from ensue.text.filters.fineweb import FineWebRules
from ensue.text.filters.gopher_quality import GopherQuality
from ensue.text.filters.gopher_repetition import GopherRepetition
from ensue.text.filters.length import Length
from ensue.text.filters.repeats import Repeats

STEPS: list[DocumentStep] = [C4Rules(), GopherQuality(), GopherRepetition(), FineWebRules(), Length()]
SENTENCE = "The old man went to the river with a boat and came home late. "


def judge(step: DocumentStep, text: str, **meta: str) -> Verdict:
    return step.prepare()(Document.of(text, "a.txt", meta))


@settings(max_examples=60)
@given(
    st.text(st.one_of(st.sampled_from("ab. \n-#。中的…\"'{"), st.characters(exclude_categories=["Cs"])), max_size=300)
)
def test_any_text_is_judged_and_always_the_same_way(text: str) -> None:
    for step in STEPS:
        judged = step.prepare()
        document = Document.of(text, "a.txt")
        verdict = judged(document)
        assert judged(document) == verdict == step.prepare()(Document.of(text, "a.txt"))
        assert bool(verdict.reason) == (verdict.documents != (document,))
        assert all(kept.id == document.id for kept in verdict.documents)


def test_c4_lines() -> None:
    text = "Home | About\nThis line has five words.\nToo short.\nPlease enable JavaScript in your browser now.\n"
    text += "We use cookies as our cookie policy says.\nIt ends here, with a note.[12] And again it ends.\n"
    text += "No mark at the end of this"
    verdict = judge(C4Rules(), text)
    assert verdict.documents[0].text == "This line has five words.\nIt ends here, with a note. And again it ends."
    assert verdict.facts == {"lines": 7, "lines_kept": 2}
    assert judge(C4Rules(), verdict.documents[0].text).reason == ""
    chinese = "首页\n他们一早就到河边去了，回来的时候天已经黑了。\n谁也没有说话！\n后来呢？后来下雨了。"
    expected = "他们一早就到河边去了，回来的时候天已经黑了。\n后来呢？后来下雨了。"  # six characters are four words
    assert judge(C4Rules(), chinese).documents[0].text == expected
    thai = "มนุษย์ทั้งหลายเกิดมามีอิสระและเสมอภาคกันในเกียรติศักดิ์และสิทธิ"
    assert judge(C4Rules(), thai).documents[0].text == thai


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("function() { return 1 }", "a curly bracket"),
        ("Lorem Ipsum dolor sit amet.", "lorem ipsum"),
        ("One sentence with enough words.", "fewer sentences than C4 asks"),
        ("Menu\nHome\n", "no line that C4 keeps"),
        ("", "no line that C4 keeps"),
    ],
)
def test_c4_pages(text: str, reason: str) -> None:
    assert judge(C4Rules(), text).reason == reason


def test_c4_bad_words(tmp_path: Path) -> None:
    (tmp_path / "bad.txt").write_text("Ass\nvery bad\n坏话\n", encoding="utf-8")
    rules = C4Rules(bad_words=str(tmp_path / "bad.txt"))
    assert judge(rules, "A class of its own. " * 5 + "And so it was here.").reason == ""
    for text in ("An ass.", "This is VERY BAD indeed.", "他说了坏话吗？"):
        assert judge(rules, text).reason == "a bad word"
    with pytest.raises(ValueError, match="one word a line"):
        C4Rules(bad_words=str(tmp_path / "none.txt")).prepare()


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (SENTENCE * 4, ""),
        (SENTENCE * 3, "too few words"),
        (SENTENCE * 8000, "too many words"),
        ("of to a b c " * 20, "words too short on average"),
        ("the of " + "incomprehensibilities " * 60, "words too long on average"),
        (SENTENCE * 4 + "#" * 7, "too many hash signs"),
        (SENTENCE * 4 + "… " * 7, "too many ellipses"),
        (("- " + SENTENCE + "\n") * 5, "a list of bullets"),
        ((SENTENCE.strip() + "..\n") * 4 + (SENTENCE + "\n") * 9, "lines that break off"),
        (SENTENCE * 4 + "2023 " * 20, "too few words with letters"),
        ("Apples pears plums grapes cherries figs. " * 10, "too few stop words"),
        ("他们一早就到河边去了，回来的时候天已经黑了，谁也没有说话。" * 4, ""),
        ("苹果梨子葡萄樱桃香蕉" * 10, "too few stop words"),
        ("他们一早就到河边去了。", "too few words"),
    ],
)
def test_gopher_quality(text: str, reason: str) -> None:
    assert judge(GopherQuality(), text).reason == reason


def test_stop_words_are_those_of_the_language() -> None:
    german = (
        "Der alte Mann ging mit dem Boot zum Fluss und kam nicht vor dem Abend nach Hause zurück, weil es regnete. " * 3
    )
    assert judge(GopherQuality(), german).reason == ""
    assert judge(GopherQuality(), german, language="de").reason == ""
    assert judge(GopherQuality(), german, language="xx").reason == ""
    assert judge(GopherQuality(), german, language="en").reason == "too few stop words"
    assert judge(GopherQuality(of=("der", "Boot")), german, language="en").reason == ""


def test_gopher_repetition() -> None:
    assert judge(GopherRepetition(), "\n".join(["x", "y", "x"])).reason == "repeated lines"
    once = "Some words that are only here once, of which there are enough to weigh against what is said again below."
    assert judge(
        GopherRepetition(), f"{once}\n\nagain and again it goes on, and on\n\nagain and again it goes on, and on"
    ).reason
    assert judge(GopherRepetition(), "a b " * 30).reason == "one 2-gram again and again"


words_lists = st.lists(st.sampled_from(["a", "bb", "ccc", "d", "ee"]), max_size=40)


@given(words_lists, st.integers(1, 6))
def test_repeats_equal_counting_by_hand(words: list[str], n: int) -> None:
    grams = [tuple(words[place : place + n]) for place in range(len(words) - n + 1)]
    total = max(sum(map(len, words)), 1)

    def share(starts: list[int]) -> float:
        return sum(len(words[place]) for place in {start + offset for start in starts for offset in range(n)}) / total

    assert Repeats(words).again(n) == pytest.approx(share([p for p, gram in enumerate(grams) if gram in grams[:p]]))
    counts = Counter(grams)
    most = max(counts.values(), default=0)
    tops = [
        share([p for p, each in enumerate(grams) if each == gram])
        for gram, count in counts.items()
        if count == most > 1
    ]
    assert Repeats(words).top(n) == pytest.approx(max(tops, default=0.0))


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("The first line of it is long enough.\nThe second line of it is long enough.", ""),
        (
            "\n".join(f"a longer line of things, number {n}, with no end" for n in range(9)),
            "few lines end with punctuation",
        ),
        ("The first line of it is long enough.\n" * 2, "characters in duplicated lines"),
        ("Yes.\nNo.\nBut the third line is long enough to count.", ""),
        ("Yes.\nNo.\nOh.\nBut the fourth line is long enough to count.", "mostly short lines"),
        ("幾年山下事仙翁，名在長生籙籍中。\n燒得藥成須寄我，曾爲主簿與君同。", ""),
        (" \n", "no lines"),
    ],
)
def test_fineweb(text: str, reason: str) -> None:
    assert judge(FineWebRules(), text).reason == reason


def test_length() -> None:
    step = Length(least_characters=3, most_characters=5)
    reasons = [judge(step, "x" * number).reason for number in range(2, 7)]
    assert reasons == ["too short", "", "", "", "too long"]
    with pytest.raises(ValueError, match="nothing would be kept"):
        Length(least_characters=6, most_characters=5)


def test_good_prose_passes(shared_data: Path) -> None:
    with gzip.open(shared_data / "reference" / "brown.jsonl.gz", "rt", encoding="utf-8") as file:
        prose = [json.loads(line)["text"] for line in file][::10]
    with gzip.open(shared_data / "chinese" / "tang_poems_valid.jsonl.gz", "rt", encoding="utf-8") as file:
        poems = [json.loads(line)["text"] for line in file]
    poems = [poem for poem in poems if "{" not in poem]  # where a character has no code point
    verse = ["\n\n".join(poems[place : place + 40]) for place in range(0, len(poems) - 39, 80)]
    for texts in (prose, verse):
        for step in STEPS:
            kept = sum(bool(judge(step, text).documents) for text in texts)
            assert kept / len(texts) > 0.95, step


def test_prose_in_27_languages_passes(shared_data: Path) -> None:
    with gzip.open(shared_data / "langid" / "udhr.jsonl.gz", "rt", encoding="utf-8") as file:
        rows = [json.loads(line) for line in file]
    for step in STEPS[:2] + STEPS[3:]:
        for row in rows:
            assert judge(step, row["text"], language=row["lang"]).reason in ("", "lines that C4 removes"), (
                step,
                row["lang"],
            )
