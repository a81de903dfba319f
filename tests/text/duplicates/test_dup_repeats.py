"""The same text, the same address, the same paragraph."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ensue.text.document import Document
from ensue.text.duplicates.paragraphs import RepeatedParagraphs
from ensue.text.duplicates.repeats import RepeatedTexts, RepeatedUrls, normalised_url


def files(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_same_text_is_kept_once(run_step):
    texts = ["one two", "other", "one \n two ", "caf\u00e9", "cafe\u0301", "One two", "", " "]
    documents = [Document.of(text, str(place)) for place, text in enumerate(texts)]
    verdicts = run_step(RepeatedTexts(), documents, part=2)
    assert [place for place, verdict in enumerate(verdicts) if not verdict.documents] == [2, 4]
    assert verdicts[2].facts == {"duplicate_of": documents[0].id}
    assert run_step.figures == {"documents": 8, "different": 4, "dropped": 2}


def test_preferred_collection_stays(run_step):
    names = ["web", "books", "web", "poems"]
    documents = [Document.of("the same", str(place), {"collection": name}) for place, name in enumerate(names)]
    for prefer, stays in (((), 0), (("books",), 1), (("poems", "books"), 3), (("absent",), 0)):
        verdicts = run_step(RepeatedTexts(prefer=prefer), documents, part=1)
        assert [place for place, verdict in enumerate(verdicts) if verdict.documents] == [stays]
        assert {v.facts["duplicate_of"] for v in verdicts if not v.documents} == {documents[stays].id}


def test_repeats_depend_on_no_memory(run_step, monkeypatch):
    documents = [Document.of(f"text {n * n % 700}", str(n)) for n in range(3000)]
    verdicts = run_step(RepeatedTexts(), documents)
    expected = files(run_step.out)
    for module in ("repeats", "paragraphs"):
        monkeypatch.setattr(f"ensue.text.duplicates.{module}.room_in", lambda memory: 3000)
    assert run_step(RepeatedTexts(), documents) == verdicts
    assert files(run_step.out) == expected
    seen = {}
    for document, verdict in zip(documents, verdicts, strict=True):
        first = seen.setdefault(document.text, document)
        assert bool(verdict.documents) == (first is document)
        assert first is document or verdict.facts["duplicate_of"] == first.id


def test_same_address(run_step):
    urls = ["http://a.org/x", "https://www.A.org/x/#top", "https://a.org/x?page=2", None, None, "//a.org:443/x"]
    documents = [
        Document.of(f"text {place}", str(place), {"url": url} if url else {}) for place, url in enumerate(urls)
    ]
    verdicts = run_step(RepeatedUrls(), documents, part=4)
    assert [place for place, verdict in enumerate(verdicts) if not verdict.documents] == [1, 5]


@given(st.text(max_size=40))
def test_normalised_addresses_stay_as_they_are(url):
    once = normalised_url(f"https://example.org/{url}")
    assert normalised_url("http://" + once) == once


def test_addresses():
    assert normalised_url("https://www.Example.org:443/A/#top") == "example.org/A"
    assert normalised_url("http://example.org:8080/?q=a/") == "example.org:8080?q=a/"
    assert normalised_url("https://例え.jp/道/") == "例え.jp/道"
    assert normalised_url(" http://example.org/a b\n/ #top") == "example.org/ab"
    assert normalised_url("") == ""


def test_paragraphs_of_earlier_documents_are_cut(run_step, monkeypatch):
    notice = "All rights reserved; nothing of this page may be copied anywhere by anyone at all."
    bodies = [
        f"This is page {n} and it goes on for long enough to be worth keeping, says its author {n}." for n in range(4)
    ]
    texts = [
        f"{bodies[0]}\n{notice}\nShort.\n{notice}",
        f"Short.\n{bodies[1]}\n  {notice} ",
        f"{notice}\nOnly this.",
        f"{bodies[2]}\n{bodies[3]}",
    ]
    documents = [Document.of(text, str(place)) for place, text in enumerate(texts)]
    verdicts = run_step(RepeatedParagraphs(least=50), documents, part=2)
    assert verdicts[0].documents == (documents[0],)
    assert verdicts[1].documents[0].text == f"Short.\n{bodies[1]}"
    assert verdicts[1].documents[0].id == documents[1].id
    assert verdicts[1].facts == {"duplicate_of": documents[0].id, "cut": 1, "paragraphs": 3}
    assert not verdicts[2].documents
    assert verdicts[2].facts["bytes_left"] == len("Only this.")
    assert verdicts[3].documents == (documents[3],)
    monkeypatch.setattr("ensue.text.duplicates.paragraphs.room_in", lambda memory: 500)
    assert run_step(RepeatedParagraphs(least=50), documents, part=2) == verdicts


def test_chinese_paragraphs_and_blank_lines(run_step):
    line = "版權所有未經許可不得轉載本頁任何內容違者必究謝謝合作"
    documents = [Document.of(f"{'春眠不覺曉' * n}，\n處處聞啼鳥。\n\n{line}", str(n)) for n in (30, 31)]
    verdicts = run_step(RepeatedParagraphs(between="blank"), documents)
    assert verdicts[1].documents[0].text == f"{'春眠不覺曉' * 31}，\n處處聞啼鳥。"
    with pytest.raises(ValueError, match="between='word'"):
        RepeatedParagraphs(between="word")
