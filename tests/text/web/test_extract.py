"""Main text of web pages: what is kept and dropped, what pages say of themselves, and limits that hold."""

from __future__ import annotations

import gzip
import json
import os
import pickle
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import trafilatura

from ensue.core.config import to_dict
from ensue.text.curation.step import DocumentStep, Judge
from ensue.text.document import Document
from ensue.text.encodings import decode_page
from ensue.text.web import extractor as extracting
from ensue.text.web.extract import Extract
from ensue.text.web.extractor import CRASHED, TOO_LONG, Extractor
from ensue.text.web.first_pass import first_pass
from ensue.text.web.main_text import LIBRARY_ENOUGH, main_text
from ensue.text.web.page_tree import read_tree

SENTENCE = "The main text of this page is a sentence that is long enough to be told from a menu. "
PAGE = """<html lang="en-GB"><head><title>A title | The site</title>
<link rel="canonical" href="https://example.org/canonical">
<meta property="article:published_time" content="2016-03-04T05:06:07Z"></head>
<body><nav><ul><li><a href="/">Home</a></li><li><a href="/about">About us</a></li></ul></nav>
<article><h1>A title</h1><p>{0}</p><p>{0}</p><p>{0}</p>
<table><tr><td>Cell one</td><td>Cell two</td></tr></table></article>
<footer>All rights reserved. <a href="/terms">Terms</a></footer></body></html>""".format(SENTENCE * 3)


def html(text: str, **meta: str) -> Document:
    return Document.of(text, "x.html", {"type": "text/html", **meta})


@pytest.fixture(scope="module")
def judge() -> Judge:
    step = Extract()
    assert isinstance(step, DocumentStep)
    return step.prepare()


def test_a_page(judge: Judge) -> None:
    document = html(PAGE, collection="web", encoding="cp1252")
    verdict = judge(document)
    [text] = verdict.documents
    assert SENTENCE.strip() in text.text
    assert "Cell one" in text.text
    assert not any(word in text.text for word in ("About us", "All rights reserved", "<p>"))
    assert (text.id, text.source) == (document.id, document.source)
    assert text.meta == {
        "collection": "web",
        "encoding": "cp1252",
        "title": "A title",
        "url": "https://example.org/canonical",
        "language": "en-GB",
        "published": "2016-03-04",
        "date": "2016-03-04",
    }
    assert verdict.reason == "main text extracted"
    assert verdict.facts == {"html_characters": len(PAGE), "characters": len(text.text)}


def test_what_the_archive_said_stays(judge: Judge) -> None:
    meta = {"url": "http://example.org/as-fetched", "date": "2017-01-02T03:04:05Z"}
    [text] = judge(html(PAGE, **meta)).documents
    assert {key: text.meta[key] for key in meta} == meta
    assert text.meta["published"] == "2016-03-04"
    # A page is not published after it was fetched.
    [text] = judge(html(PAGE, date="2015-01-01T00:00:00Z")).documents
    assert text.meta.get("published", "") <= "2015-01-01"


def test_other_documents_pass_untouched(judge: Judge) -> None:
    for document in (Document.of(PAGE, "x"), Document.of(PAGE, "x", {"type": "text/plain"})):
        assert judge(document).documents == (document,)


@pytest.mark.parametrize(
    "page", ["", " ", "no page", "<html></html>", "<html><body><script>x</script></body></html>", "\x01"]
)
def test_pages_without_text(judge: Judge, page: str) -> None:
    verdict = judge(html(page))
    assert verdict.documents == () or page == "no page"
    assert verdict.reason in ("no main text on the page", "main text extracted")


def test_settings() -> None:
    with pytest.raises(ValueError, match="more than 0"):
        Extract(seconds=0)
    step = Extract(tables=False)
    assert pickle.loads(pickle.dumps(step)) == step
    assert (
        json.loads(json.dumps(to_dict(step))).items() >= {"seconds": 30.0, "comments": False, "tables": False}.items()
    )
    judge = step.prepare()
    assert "Cell one" not in judge(html(PAGE)).documents[0].text
    assert Extract(most_characters=100).prepare()(html(PAGE)).reason == "the page is too large to extract"


def test_real_pages(shared_data: Path, judge: Judge) -> None:
    with open(shared_data / "web" / "pages.jsonl", encoding="utf-8") as file:
        rows = [json.loads(line) for line in file][::8]
    kept = wanted = unwanted = 0
    for row in rows:
        decoded = decode_page(gzip.decompress((shared_data / "web" / row["file"]).read_bytes()))
        assert decoded is not None
        documents = judge(html(decoded[0])).documents
        text = documents[0].text if documents else ""
        wanted += len(row["expect"] or [])
        kept += sum(segment in text for segment in row["expect"] or [])
        unwanted += sum(segment in text for segment in row["reject"] or [])
    assert kept / wanted > 0.85
    assert kept / (kept + unwanted) > 0.85


def test_the_child_says_what_the_function_says(judge: Judge) -> None:
    slow = main_text(PAGE, url="http://example.org/", fetched="2017-01-01", enough=Extract().enough)
    [fast] = judge(html(PAGE, url="http://example.org/", date="2017-01-01")).documents
    assert fast.text == slow.text
    assert {key: fast.meta[key] for key in slow.meta} == slow.meta


def test_a_first_pass_that_finds_too_little_is_not_the_last(shared_data: Path) -> None:
    with open(shared_data / "web" / "pages.jsonl", encoding="utf-8") as file:
        rows = [json.loads(line) for line in file][:30]
    relied_on = 0
    for row in rows:
        page, _ = decode_page(gzip.decompress((shared_data / "web" / row["file"]).read_bytes()))  # type: ignore[misc]
        quick = first_pass(read_tree(page))
        fast = trafilatura.extract(page, include_comments=False, fast=True) or ""
        full = trafilatura.extract(page, include_comments=False) or ""
        library = fast if len(fast) >= LIBRARY_ENOUGH else full
        assert main_text(page).text == full
        for enough in (1, 500, 10**9):
            assert main_text(page, enough=enough).text == (quick.text if quick.suffices(enough) else library)
        relied_on += quick.suffices(500)
    assert len(rows) / 2 < relied_on < len(rows)


def test_the_same_in_every_process() -> None:
    code = "import sys; from ensue.text.web.main_text import main_text; print(main_text(sys.stdin.read()))"
    said = {
        subprocess.run(
            [sys.executable, "-c", code],
            input=PAGE,
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert len(said) == 1


ENDLESS = "<html><body>" + "<p>word word <b>word</b> word word</p>" * 60_000 + "</body></html>"


def test_a_page_that_takes_too_long_and_the_one_after_it() -> None:
    judge = Extract(seconds=0.3).prepare()
    verdict = judge(html(ENDLESS))
    assert verdict.documents == ()
    assert verdict.reason == TOO_LONG == "the extractor took too long"
    assert judge(html(PAGE)).reason == "main text extracted"


def test_the_limit_holds_within_c_code() -> None:
    """The kernel ends the child: no Python code has to be reached for that."""
    code = (
        "import re, signal; signal.setitimer(signal.ITIMER_PROF, 0.2);"
        "re.match(r'(a|aa)+$', 'a' * 60 + 'b')"  # one call into C, of ages
    )
    done = subprocess.run([sys.executable, "-c", code], timeout=60, check=False)
    assert done.returncode == -signal.SIGPROF


def test_a_child_that_dies_is_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    extractor = Extractor(30)
    settings = {"url": "", "fetched": "", "comments": False, "tables": True, "enough": 500}
    assert not isinstance(extractor.extract(PAGE, **settings), str)  # type: ignore[arg-type]
    child = extractor._child
    assert child is not None
    child.kill()
    child.wait()
    assert extractor.extract(PAGE, **settings) == CRASHED  # type: ignore[arg-type]
    assert not isinstance(extractor.extract(PAGE, **settings), str)  # type: ignore[arg-type]
    second = extractor._child
    assert second is not None
    assert second.pid != child.pid
    del extractor
    assert second.poll() == 0


def test_memory_is_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    assert extracting.MEMORY_BYTES <= 4 << 30
    code = (
        "import ensue.text.web.extractor as e; from multiprocessing import Pipe; import threading;"
        "e.MEMORY_BYTES = 600 << 20; ours, theirs = Pipe();"
        "e.main_text = lambda html, **_: bytearray(1 << 30) if html == 'large' else html;"
        "threading.Thread(target=lambda: (ours.send((30, 'large', '', '', False, True, 0)), print(ours.recv()),"
        "ours.send((30, 'small', '', '', False, True, 0)), print(ours.recv()), ours.close())).start(); e._serve(theirs)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert done.stdout.split("\n")[:2] == [extracting.TOO_MUCH, "small"]


def test_deep_and_broken_pages_do_no_harm(judge: Judge) -> None:
    pages = [
        "<div>" * 50_000 + SENTENCE * 5,
        "<html><body>" + "<b>x " * 20_000,
        "<table><tr><td>" * 3_000 + SENTENCE,
        "<html><body><p>" + SENTENCE * 3 + "<" * 50_000,
        "<html><body><p>" + SENTENCE * 3 + "&amp" * 50_000 + "</p>",
        "<html><body><p>" + "word" * 500_000 + "</p></body></html>",
        "<![CDATA[" * 1000 + PAGE,
        PAGE.replace("<p>", "<p\x00>\ud800".encode("utf-8", "replace").decode()),
    ]
    for page in pages:
        judge(html(page))
    assert judge(html(PAGE)).reason == "main text extracted"


WORKERS = """
import multiprocessing, sys
from ensue.text.document import Document
from ensue.text.web.extract import Extract

def extract(page):
    judge = Extract().prepare()
    verdict = judge(Document.of(page, "x", {"type": "text/html"}))
    child = judge.args[0]._child
    return verdict.reason, type(child).__name__

if __name__ == "__main__":
    from concurrent.futures import ProcessPoolExecutor

    context = multiprocessing.get_context("forkserver")
    with ProcessPoolExecutor(1, context) as pool:
        print(*pool.submit(extract, sys.argv[1]).result())
    with context.Pool(1) as pool:
        print(*pool.apply(extract, (sys.argv[1],)))
    print(*extract(sys.argv[1]))
"""


def test_workers_fork_their_children(tmp_path: Path) -> None:
    """And those that may have none, or may not be forked, start a Python of its own."""
    script = tmp_path / "workers.py"
    script.write_text(WORKERS)
    done = subprocess.run([sys.executable, script, PAGE], capture_output=True, text=True, check=True, timeout=120)
    assert done.stdout.splitlines() == [
        "main text extracted ForkProcess",
        "main text extracted Popen",
        "main text extracted Popen",
    ]
