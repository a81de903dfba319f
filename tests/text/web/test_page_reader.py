"""The compiled reader of pages: its tree beside lxml's, its compiled passes beside the same code as plain Python, and
what it takes for main text."""

from __future__ import annotations

import gzip
import html as markup
import json
import os
import random
import subprocess
import sys
from pathlib import Path

import lxml.html
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ensue.text.encodings import decode_page
from ensue.text.web.first_pass import FirstPass, first_pass
from ensue.text.web.page_facts import page_facts
from ensue.text.web.page_tags import BESIDE, BODY, COMMENTS, HIDDEN, elements
from ensue.text.web.page_tree import Tree, read_tree

PARAGRAPH = "A paragraph of the article, which is long enough, holds a comma and says something to whoever reads it. "
TAGS = (
    "<p> </p> <div> </div> <li> <ul> </ul> <a> </a> <table> <tr> <td> </td> </table> <b> </b> <h2> </h2> <br> <br/> "
    "<pre> </pre> <script> </script> <style> <!-- --> <!--> < > &amp; &nbsp; <article> </article> <form> </form> </x> "
    "<title> <textarea> </textarea <body> </body> <head> </head> <html> ' \" = </ <! <?"
)
OTHERS = (
    *("<div class='sidebar'>", '<div class="entry-content">', "<div hidden>", "<p style='display: none'>", "<p class="),
    *("é", "中文，", "。", "\xa0", "\0", "word ", "🙂", "\ud800", "  \n\t", PARAGRAPH, PARAGRAPH * 4),
)
SOUP = st.lists(st.sampled_from([*TAGS.split(), *OTHERS]), max_size=60).map("".join)
TWIN = """
import json, sys, warnings
warnings.simplefilter("ignore")  # hashes are to wrap around
from ensue.text.web.first_pass import FirstPass, first_pass
from ensue.text.web.page_tree import read_tree
for page in json.load(sys.stdin):
    tree = read_tree(page)
    found = first_pass(tree)
    arrays = (tree.tag, tree.parent, tree.end, tree.names, tree.first_run, tree.end_run, tree.run_begin, tree.run_end)
    print(json.dumps([[array.tolist() for array in arrays], found.text, found.share]))
"""


def real_pages(shared_data: Path, step: int) -> list[str]:
    rows = [json.loads(line) for line in (shared_data / "web" / "pages.jsonl").open(encoding="utf-8")]
    decoded = [decode_page(gzip.decompress((shared_data / "web" / row["file"]).read_bytes())) for row in rows[::step]]
    return [page[0] for page in decoded if page is not None]


def texts_of(tree: Tree, name: str) -> list[str]:
    found = []
    for element in (tree.tag == elements()[name]).nonzero()[0]:
        runs = range(tree.first_run[element], tree.end_run[element])
        text = b"".join(tree.data[tree.run_begin[run] : tree.run_end[run]] for run in runs).decode()
        found.append(" ".join(markup.unescape(text).split()))
    return [text for text in found if text]


def said_by(code: str, pages: list[str], **environment: str) -> list[object]:
    done = subprocess.run(
        [sys.executable, "-c", code],
        input=json.dumps(pages),
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=True,
    )
    return [json.loads(line) for line in done.stdout.splitlines()]


def text_of(page: str) -> str:
    return first_pass(read_tree(page)).text


def test_paragraphs_are_those_of_lxml(shared_data: Path) -> None:
    pages = real_pages(shared_data, 4)
    same = 0
    for page in pages:
        root = lxml.html.fromstring(page.encode(), parser=lxml.html.HTMLParser(encoding="utf-8"))
        theirs = [" ".join(paragraph.text_content().split()) for paragraph in root.iter("p")]
        same += texts_of(read_tree(page), "p") == [text for text in theirs if text]
    assert same >= 0.85 * len(pages)


def test_plain_python_says_the_same() -> None:
    chance = random.Random(5)
    pieces = [piece for piece in (*TAGS.split(), *OTHERS) if piece != "\ud800"]
    pages = ["".join(chance.choices(pieces, k=chance.randrange(80))) for _ in range(60)]
    assert said_by(TWIN, pages) == said_by(TWIN, pages, NUMBA_DISABLE_JIT="1")


@given(SOUP)
@settings(max_examples=200)
def test_any_page_makes_a_tree(page: str) -> None:
    tree = read_tree(page)
    numbers = range(1, len(tree.tag))
    assert all(0 <= tree.parent[number] < number < tree.end[number] <= len(tree.tag) for number in numbers)
    assert all(tree.end[number] <= tree.end[tree.parent[number]] for number in numbers)
    assert all(0 <= first <= last <= len(tree.run_of) for first, last in zip(tree.first_run, tree.end_run, strict=True))
    assert all(0 <= begin < end <= len(tree.data) for begin, end in zip(tree.run_begin, tree.run_end, strict=True))
    assert sorted(tree.run_begin.tolist()) == tree.run_begin.tolist()
    found = first_pass(tree)
    assert 0 <= found.share <= 1
    words = set(markup.unescape(tree.data.decode().replace("&nbsp;", " ")).replace("<", " ").replace(">", " ").split())
    assert {"🙂", "word"} & set(found.text.split()) <= words
    assert first_pass(read_tree(page)) == found
    page_facts(tree, url="", fetched="")


def test_a_page_that_is_one_style_has_no_day() -> None:
    page = "</form></div>\xa0<html><style><div hidden></body>"
    assert "published" not in page_facts(read_tree(page), url="", fetched="")


def test_ends_that_are_implied() -> None:
    assert texts_of(read_tree("<p>one<p>two<div>three</div>four"), "p") == ["one", "two"]
    assert texts_of(read_tree("<ul><li>one<ul><li>two</ul><li>three</ul>"), "li") == ["onetwo", "two", "three"]
    assert texts_of(read_tree("<table><tr><td>1<td>2<tr><td>3</table>"), "tr") == ["12", "3"]
    assert texts_of(read_tree("<p>a <b>bold</p><p>next</p>"), "p") == ["a bold", "next"]
    assert texts_of(read_tree("<td><p>in</div> a cell</td>"), "p") == ["in a cell"]
    assert texts_of(read_tree("<p>a</b></span></x> < b</p>"), "p") == ["a < b"]


def test_what_is_no_markup() -> None:
    page = "<!-- <p>no</p> --><script>'<p>no</p>'</SCRIPT ><style><p></style><!DOCTYPE html><?x ?><p>yes<!----> sir</p>"
    assert texts_of(read_tree(page), "p") == ["yes sir"]
    assert texts_of(read_tree("<p>before <script> never ends <p>no</p>"), "p") == ["before never ends <p>no</p>"]
    assert texts_of(read_tree("<p title=\"a > b\" data-x='</p>'>kept</p>"), "p") == ["kept"]


@pytest.mark.parametrize(
    ("attributes", "said"),
    [
        ('class="main sidebar-left"', BESIDE),
        ('id="leftSidebar"', BESIDE),
        ("class=entry-content", BODY),
        ("ITEMPROP='articleBody'", BODY),
        ('class="comments"', COMMENTS),
        ('class="no-comments-here x"', COMMENTS),
        ('style="color: red; DISPLAY : none"', HIDDEN),
        ("hidden", HIDDEN),
        ('aria-hidden="true"', HIDDEN),
        ('aria-hidden="false" style="display:block" data-class="sidebar" title="sidebar"', 0),
        ('class="adam shadow recommendable-not"', BESIDE),
        ('class="adam shadow"', 0),
    ],
)
def test_names(attributes: str, said: int) -> None:
    asked = BESIDE | BODY | COMMENTS | HIDDEN
    assert read_tree(f"<div {attributes}>x</div>").names[1] & asked == said


ARTICLE = f"""<html><body class="has-sidebar"><nav>Home</nav><div class="menu"><a href="/">Start</a></div>
<div class="entry-content"><h1>Title</h1><p>{PARAGRAPH * 3}</p><p>{PARAGRAPH}&amp; <b>more</b>,&nbsp;&nbsp;said</p>
<p><a href="x">Only a link stands in this one</a></p><ul><li>One item</li><li>Another</li></ul>
<table><tr><td>Cell</td><td>and cell</td></tr></table><pre>if x:
    y = 1</pre>
<div class="share-buttons">Share this</div><p>{PARAGRAPH}<br>{PARAGRAPH}</p><h2>Nothing follows</h2></div>
<div id="comments"><p>{PARAGRAPH}</p></div><footer>Imprint</footer></body></html>"""


def test_an_article() -> None:
    one = PARAGRAPH.strip()
    assert text_of(ARTICLE).split("\n") == [
        "Title",
        (PARAGRAPH * 3).strip(),
        f"{PARAGRAPH}& more, said",
        "One item",
        "Another",
        "Cell | and cell",
        "if x:",
        "    y = 1",
        one,
        one,
    ]
    assert "Cell" not in first_pass(read_tree(ARTICLE), tables=False).text
    assert first_pass(read_tree(ARTICLE)).share == 1
    two = f"<div class=a><p>{PARAGRAPH * 9}</p></div>"
    assert first_pass(read_tree(f"<body><article>{two}</article><article>{two}</article></body>")).share < 0.6


def test_when_it_is_relied_on() -> None:
    assert FirstPass("x" * 500, 0.9, 0.5).suffices(500)
    assert not FirstPass("x" * 499, 0.9, 0.5).suffices(500)
    assert not FirstPass("x" * 999, 0.9, 0.05).suffices(500)
    assert FirstPass("x" * 1000, 0.9, 0.05).suffices(500)
    assert not FirstPass("x" * 1000, 0.5, 0.5).suffices(500)
    short = f"<div>{'<p>Menu</p>' * 400}<div class=entry-content><p>{PARAGRAPH}</p></div></div>"
    assert first_pass(read_tree(short)).of_page < 0.1 < 0.8 < first_pass(read_tree(ARTICLE)).of_page


def test_scripts_without_spaces() -> None:
    sentence = "这是一篇文章，它有足够长的句子，可以与菜单区别开来，读者可以在这里读到一些内容。"
    body = "".join(f"<p>{sentence * 2}</p>" for _ in range(5))
    found = first_pass(read_tree(f"<body><div class=menu>首页 关于</div><div class=content>{body}</div></body>"))
    assert found.text == "\n".join([sentence * 2] * 5)
    assert found.share == 1


def test_a_page_that_believes_itself_beside_everything() -> None:
    """Names of parts that hold most of a page are not believed."""
    page = f'<div class="widget sidebar"><p>{PARAGRAPH * 5}</p></div><div class="sidebar"><p>{PARAGRAPH}</p></div>'
    assert text_of(page) == (PARAGRAPH * 5).strip()


def test_facts_are_read_from_anywhere_in_the_page() -> None:
    page = (
        '<html lang="pt-BR"><head><title>A title - Site</title></head><body>'
        + "<p>filler</p>" * 50
        + '<div class="post-date">12 March 2015</div><h1>A title</h1></body></html>'
    )
    assert page_facts(read_tree(page), url="", fetched="") == {
        "title": "A title",
        "language": "pt-BR",
        "published": "2015-03-12",
    }
