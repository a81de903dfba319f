"""WebText's rule: linked to, with a score, in time, and not from an excluded domain."""

from __future__ import annotations

import csv
import gzip
import io
import json
import pickle
from datetime import UTC, datetime
from pathlib import Path

import pyarrow
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyarrow import parquet

from ensue.core.config import to_dict
from ensue.text.curation.step import DocumentStep
from ensue.text.document import Document
from ensue.text.web.link_list import day_of, read_links
from ensue.text.web.links import WebTextLinks
from ensue.text.web.urls import url_key

ROWS = [
    {"url": "http://www.example.org/good/", "score": 2, "date": "2015-01-01"},
    {"url": "https://example.org/good", "score": 7, "date": "2016-05-05T10:00:00Z"},
    {"url": "https://example.org/good", "score": 90, "date": "2018-05-05"},
    {"url": "http://example.org/low", "score": 2, "date": "2016-01-01"},
    {"url": "http://example.org/late", "score": 50, "date": "2018-01-01"},
    {"url": "http://example.org/last-day", "score": 3, "date": "2017-12-31T23:59:59+00:00"},
    {"url": "https://en.wikipedia.org/wiki/GPT", "score": 500, "date": "2016-01-01"},
    {"url": "http://example.org/undated", "score": 9, "date": ""},
]
KEPT = {"http://example.org/good": 7, "http://example.org/last-day": 3}


def write_rows(path: Path, rows: list[dict[str, object]]) -> Path:
    if path.name.endswith(".parquet"):
        parquet.write_table(pyarrow.Table.from_pylist(rows), path)
        return path
    if ".jsonl" in path.name:
        text = "".join(json.dumps(row) + "\n" for row in rows)
    else:
        out = io.StringIO()
        writer = csv.DictWriter(out, list(rows[0]), delimiter="\t" if ".tsv" in path.name else ",")
        writer.writeheader()
        writer.writerows(rows)
        text = out.getvalue()
    path.write_bytes(gzip.compress(text.encode()) if path.name.endswith(".gz") else text.encode())
    return path


def fate(step: WebTextLinks, url: str) -> tuple[str, dict[str, object]]:
    verdict = step.prepare()(Document.of("text", "x", {"url": url} if url else {}))
    return verdict.reason if not verdict.documents else "kept", dict(verdict.facts)


@pytest.mark.parametrize("name", ["l.jsonl", "l.jsonl.gz", "l.csv", "l.tsv.gz", "l.parquet"])
def test_the_rule_from_every_kind_of_list(tmp_path: Path, name: str) -> None:
    step = WebTextLinks(links=str(write_rows(tmp_path / name, ROWS)))
    assert isinstance(step, DocumentStep)
    for url, score in KEPT.items():
        assert fate(step, url + "#fragment") == ("kept", {"score": score})
    for row in ROWS:
        url = str(row["url"])
        expected = "an excluded domain" if "wikipedia" in url else "not linked to well enough in time"
        assert fate(step, url)[0] == ("kept" if url_key(url) in map(url_key, KEPT) else expected)
    assert fate(step, "http://example.org/never")[0] == "not linked to well enough in time"
    assert fate(step, "")[0] == "no web address"


def test_what_can_be_set(tmp_path: Path) -> None:
    links = str(write_rows(tmp_path / "l.jsonl", ROWS))
    assert fate(WebTextLinks(links, least_score=8), "http://example.org/good")[0] != "kept"
    anytime = WebTextLinks(links, until="", excluded_domains=())
    assert fate(anytime, "http://example.org/good") == ("kept", {"score": 90})
    assert fate(anytime, "http://example.org/undated") == ("kept", {"score": 9})
    assert fate(anytime, "http://en.wikipedia.org/wiki/GPT") == ("kept", {"score": 500})
    assert fate(WebTextLinks(links, excluded_domains=("org",)), "http://example.org/good")[0] == "an excluded domain"
    with pytest.raises(ValueError, match="2017-12-31"):
        WebTextLinks(links, until="December 2017")
    with pytest.raises(ValueError, match=r"wikipedia\.org"):
        WebTextLinks(links, excluded_domains=("https://wikipedia.org/",))
    step = WebTextLinks(links)
    assert pickle.loads(pickle.dumps(step)) == step
    assert json.loads(json.dumps(to_dict(step)))["least_score"] == 3


def test_reddit_names_and_seconds(tmp_path: Path) -> None:
    early, late = (int(datetime(year, 6, 1, tzinfo=UTC).timestamp()) for year in (2017, 2018))
    rows: list[dict[str, object]] = [
        {"link": "http://a.example/", "karma": "4", "created_utc": early},
        {"link": "http://b.example/", "karma": "4.0", "created_utc": str(late)},
    ]
    step = WebTextLinks(str(write_rows(tmp_path / "l.jsonl", rows)))
    assert fate(step, "https://www.a.example") == ("kept", {"score": 4})
    assert fate(step, "http://b.example")[0] != "kept"


def test_days() -> None:
    assert day_of("2017-12-31") == day_of("20171231") == day_of("2017-12-31T22:00:00-01:00") == "2017-12-31"
    assert day_of(1514764799) == day_of("1514764799.9") == "2017-12-31"
    assert day_of(1514764800) == "2018-01-01"
    assert day_of(datetime(2018, 1, 1, tzinfo=UTC)) == "2018-01-01"
    assert day_of(None) == day_of("yesterday") == day_of("9" * 30) == ""


def test_lists_that_are_no_use(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="is not a file"):
        WebTextLinks(str(tmp_path / "missing.jsonl")).prepare()
    (tmp_path / "l.xml").write_text("x")
    with pytest.raises(ValueError, match=r"\.jsonl, \.csv"):
        WebTextLinks(str(tmp_path / "l.xml")).prepare()
    (tmp_path / "l.csv").write_text("address,votes\nhttp://a.example,4\n")
    with pytest.raises(ValueError, match="url, score, date"):
        WebTextLinks(str(tmp_path / "l.csv")).prepare()
    (tmp_path / "l.jsonl.gz").write_bytes(gzip.compress(b'{"url": "http://a.example", "score": 3}\n' * 1000)[:-30])
    with pytest.raises(ValueError, match="damaged or cut short"):
        WebTextLinks(str(tmp_path / "l.jsonl.gz"), until="").prepare()
    (tmp_path / "l.parquet").write_bytes(b"PAR1 not really")
    with pytest.raises(ValueError, match="damaged"):
        WebTextLinks(str(tmp_path / "l.parquet")).prepare()


def test_bad_rows_do_not_cost_the_good_ones(tmp_path: Path) -> None:
    lines = ['{"url": 3, "score": 4}', "nothing", "[]", '{"url": "http://a.example", "score": "many"}', ""]
    good = '{"url": "http://a.example", "score": 3}'
    (tmp_path / "l.jsonl").write_text("\n".join([*lines, good, '{"url": "http://b.example", "sc']))
    assert fate(WebTextLinks(str(tmp_path / "l.jsonl"), until=""), "http://a.example") == ("kept", {"score": 3})


links = st.tuples(st.integers(0, 8), st.integers(-5, 9), st.integers(1, 28))


@settings(max_examples=50)
@given(st.lists(links, min_size=1, max_size=30), st.integers(0, 5), st.integers(1, 28))
def test_against_the_rule_said_slowly(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[int, int, int]], least: int, last: int
) -> None:
    path = tmp_path_factory.mktemp("links") / "l.jsonl"
    write_rows(path, [{"url": f"http://e.org/{u}", "score": s, "date": f"2017-12-{d:02}"} for u, s, d in rows])
    found = read_links(path, least_score=least, until=f"2017-12-{last:02}")
    for url in range(9):
        scores = [s for u, s, d in rows if u == url and s >= least and d <= last]
        assert found.score(f"https://www.e.org/{url}/") == (max(scores) if scores else None)
