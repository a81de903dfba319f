"""Mending mojibake and invisible characters: what is wrong is put right, what is right is not touched."""

from __future__ import annotations

import gzip
import json
import pickle
import unicodedata
from pathlib import Path
from typing import Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ensue.core.config import to_dict
from ensue.text.document import Document
from ensue.text.filters.mend import Mend


def mended(text: str, step: Mend | None = None) -> str:
    document = Document.of(text, "x")
    verdict = (step or Mend()).prepare()(document)
    [out] = verdict.documents
    assert out.id == document.id
    assert (verdict.reason == "") == (out.text == text)
    return out.text


SENTENCES = [
    "Das wäre schön, größer und teurer.",
    "L’été dernier, à l’hôtel « Étoile »…",
    "你好，世界。",
    "Съешь ещё этих булок",
]


@pytest.mark.parametrize("sentence", SENTENCES)
@pytest.mark.parametrize("wrong", ["cp1252", "latin-1"])
def test_text_decoded_in_the_wrong_encoding(sentence: str, wrong: Literal["cp1252", "latin-1"]) -> None:
    try:
        mixed = sentence.encode().decode(wrong)
    except UnicodeDecodeError:
        pytest.skip("these bytes are nothing in that encoding")
    assert mixed != sentence
    assert mended(f"A line in ASCII.\n{mixed}\nAnother: {sentence}") == (
        f"A line in ASCII.\n{sentence}\nAnother: {sentence}"
    )
    assert mended(mixed, Mend(mojibake=False, controls=False, line_ends=False)) == mixed


def test_quotation_marks_of_windows() -> None:
    assert mended("He said \x93hello\x94 \x96 and left\x85") == "He said “hello” – and left…"


def test_controls_and_line_ends() -> None:
    assert (
        mended("\ufeffone\r\ntwo\rthree\x00\x07\u2028four\tfive\u2029six\x7f") == "one\ntwo\nthree\nfour\tfive\n\nsix"
    )
    assert mended("a\r\nb\x00", Mend(controls=False, line_ends=False)) == "a\r\nb\x00"
    assert mended("a\ud800b") == "ab"
    assert mended("a  \n\n\n\n\n b\u3000", Mend(line_spaces=True)) == "a\n\n\n b"


def test_joiners_that_scripts_need_stay() -> None:
    text = "می\u200cخواهم क्\u200dष 👩\u200d👩\u200d👧 e\u0301"
    assert mended(text) == text


def test_forms_of_unicode() -> None:
    text = "cafe\u0301 ﬁne ＡＢＣ１ ㍿"
    assert mended(text) == text
    assert mended(text, Mend(unicode="NFC")) == "café ﬁne ＡＢＣ１ ㍿"
    assert mended(text, Mend(unicode="NFKC")) == "café fine ABC1 株式会社"
    with pytest.raises(ValueError, match='say "NFC"'):
        Mend(unicode="NFD")  # type: ignore[arg-type]


def test_real_text_in_27_languages_is_left_alone(shared_data: Path) -> None:
    with gzip.open(shared_data / "langid" / "udhr.jsonl.gz", "rt", encoding="utf-8") as file:
        texts = [json.loads(line)["text"] for line in file]
    judge = Mend().prepare()
    for text in texts:
        assert judge(Document.of(text, "x")).documents[0].text == text


MIXED_UP = "".join(chr(code) for code in range(0x80, 0x180)) + "–—‘’“”•…€™œŠžВГРСвЂГў√≈∂†‚Ä´β\u2028 \n.aZ°"


@settings(max_examples=400)
@given(st.text(alphabet=MIXED_UP, max_size=12))
def test_what_is_not_even_shown_to_ftfy_is_what_it_would_leave_alone(text: str) -> None:
    from ftfy import fix_encoding
    from ftfy.fixes import fix_c1_controls

    every_line = "\n".join(fix_c1_controls(fix_encoding(line)) for line in text.split("\n"))
    assert mended(text, Mend(controls=False, line_ends=False)) == every_line


def test_a_line_without_end_takes_its_share_of_time() -> None:
    text = "é" * 300_000
    assert mended(text) == text


@settings(max_examples=150)
@given(st.text(alphabet=st.characters(exclude_categories=("Cs",)), max_size=80), st.sampled_from(["", "NFC", "NFKC"]))
def test_properties(text: str, form: Literal["", "NFC", "NFKC"]) -> None:
    once = mended(text, Mend(mojibake=False, unicode=form))
    assert mended(once, Mend(mojibake=False, unicode=form)) == once
    assert not form or unicodedata.is_normalized(form, once)
    assert not any(unicodedata.category(letter) == "Cc" and letter not in "\t\n" for letter in mended(text))


def test_settings_can_be_stored_and_sent() -> None:
    step = Mend(unicode="NFC")
    assert pickle.loads(pickle.dumps(step)) == step
    assert to_dict(step)["unicode"] == "NFC"
