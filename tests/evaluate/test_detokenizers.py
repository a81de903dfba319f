"""De-tokenizers: what they write, and that the tokens come back from it, of every text there is."""

from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from ensue.evaluate.detokenizers import BILLION_WORDS, MARK, PENN_TREEBANK, WIKITEXT, Detokenizer

ALL = (WIKITEXT, PENN_TREEBANK, BILLION_WORDS)

WORDS = r"""
the fox don wo ca it cities U.S. Mr. Mr St. e.g. No. end end. 1 000 2.5 1,000 22 00 Wade Giles A M <unk> N $ c$ us$ £
@-@ @,@ @.@ - -- – — . .. ... , ; : ! ? " ' 's 't n't 've ’ s ” “ ( ) [ ] = % / & °C ° # \ \x 狐狸 ， café O'Neil
"""
TOKENS = st.sampled_from(WORDS.split())
SOUP = st.text(alphabet=st.sampled_from(" \n.,-'\"@=\\:$%/sSnt19NM<>–’("), max_size=40)


def lines_of(margin: bool) -> st.SearchStrategy[str]:
    line = st.lists(TOKENS, max_size=14).map(" ".join)
    return st.lists(line.map(lambda text: f" {text} " if text and margin else text), max_size=4).map("\n".join)


@pytest.mark.parametrize("detokenizer", ALL, ids=lambda detokenizer: detokenizer.name)
@settings(max_examples=300)
@given(text=lines_of(True) | lines_of(False) | SOUP | st.text(max_size=30))
@example(" ")
@example("  ")
@example("\n")
@example("\\ ")
@example(" \\ ")
@example(" \n ")
def test_the_tokens_come_back(detokenizer: Detokenizer, text: str) -> None:
    assert detokenizer.undo(detokenizer.apply(text)) == text


@pytest.mark.parametrize("part", ["valid", "test"])
def test_wikitext_comes_back_with_hardly_a_mark(shared_data: Path, part: str) -> None:
    text = (shared_data / "wikitext2" / f"{part}.txt").read_bytes().decode()
    written = WIKITEXT.apply(text)
    assert WIKITEXT.undo(written) == text
    words = written.split()
    assert sum(word.startswith(MARK) for word in words) <= 1
    assert sum(word in ("@-@", ",", ".", "'s", "'t", ")", "(", ";") for word in words) < 0.0003 * len(words)
    # About a twentieth of it was spaces that nobody writes.
    assert 0.95 < len(written) / len(text) < 0.97


def test_wikitext_is_written_as_people_write() -> None:
    tokens = (
        " = Robert <unk> = \n"
        " He had a guest @-@ starring role as \" Craig \" ( 1 @,@ 500 @.@ 5 m ) ; it wasn 't the U.S. 's , in 2009 – "
        "10 . \n"
        " The cities ' AT & T cost US $ 3 at 22 : 00 : he ’ s gone — 5 % / year ... \n"
        " = = Wade – Giles = = \n"
    )
    written = (
        "= Robert <unk> =\n"
        "He had a guest-starring role as \"Craig\" (1,500.5 m); it wasn't the U.S.'s, in 2009–10.\n"
        "The cities' AT&T cost US$3 at 22:00: he’s gone—5%/year...\n"
        "== Wade–Giles ==\n"
    )
    assert WIKITEXT.apply(tokens) == written
    assert WIKITEXT.undo(written) == tokens


def test_a_join_that_would_not_come_back_is_not_made() -> None:
    assert WIKITEXT.apply(" with Mr . Smith , No . 5 and No. 6 \n") == "with Mr . Smith, No . 5 and No. 6\n"


def test_a_token_that_would_be_parted_is_marked() -> None:
    assert WIKITEXT.apply(" the 1,000th end. \n") == "the \\1,000th \\end.\n"


def test_the_treebank_keeps_what_is_lost() -> None:
    tokens = " mr. <unk> does n't like the company 's c$ N offer but they 've said traders ' N N loss \n"
    assert PENN_TREEBANK.apply(tokens) == (
        "mr. <unk> doesn't like the company's c$N offer but they've said traders' N N loss\n"
    )


def test_news_keeps_hyphens_and_numbers() -> None:
    tokens = "Ms. Winfrey didn 't rise 1,000.5 % , to $ 3.5 bn -- bio-identical , she said : \" It 's \" ( 3 : 1 ) .\n"
    assert BILLION_WORDS.apply(tokens) == (
        "Ms. Winfrey didn't rise 1,000.5%, to $3.5 bn -- bio-identical, she said: \"It's\" (3: 1).\n"
    )
