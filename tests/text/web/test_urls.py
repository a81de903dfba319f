"""Web addresses that lead to the same page have the same key, and others do not."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ensue.text.web.urls import host_of, is_in_domain, url_key

SAME = [
    "http://example.org/a/b",
    "https://example.org/a/b",
    "HTTPS://WWW.Example.ORG:443/a/b/",
    "http://www.example.org:80/a/b#part",
    "http://user:secret@example.org./a/./c/../b?",
    "//example.org/a/%62",
    "  http://example.org/a\n/b ",
]
DIFFERENT = [
    "http://example.org/a/B",
    "http://example.org/a/b?x=1",
    "http://example.org/a/b?x=2",
    "http://example.org:8080/a/b",
    "http://news.example.org/a/b",
    "http://example.org/a%2Fb",
    "http://example.org",
    "http://example.com/a/b",
]


def test_the_same_page() -> None:
    assert {url_key(url) for url in SAME} == {"example.org/a/b"}


def test_different_pages() -> None:
    keys = [url_key(url) for url in [SAME[0], *DIFFERENT]]
    assert len(set(keys)) == len(keys)
    assert url_key("http://example.org") == url_key("https://www.example.org/") == "example.org"


def test_letters_outside_ascii() -> None:
    assert url_key("http://bücher.example/straße") == url_key("http://xn--bcher-kva.example/stra%c3%9fe")
    assert url_key("http://zh.example/维基") == "zh.example/%E7%BB%B4%E5%9F%BA"
    assert url_key("http://example.org/a%3fb%7e") == "example.org/a%3Fb~"


@pytest.mark.parametrize(
    "url", ["", "no address", "mailto:a@b.c", "ftp://example.org/x", "http://", "http://[::1", "http://a:99999/"]
)
def test_what_is_no_web_address(url: str) -> None:
    assert url_key(url) == ""
    assert host_of(url) == ""


def test_domains() -> None:
    assert host_of("https://EN.Wikipedia.org:443/wiki/A") == "en.wikipedia.org"
    assert is_in_domain("en.wikipedia.org", "wikipedia.org")
    assert is_in_domain("wikipedia.org", "wikipedia.org")
    assert not is_in_domain("notwikipedia.org", "wikipedia.org")
    assert not is_in_domain("wikipedia.org.example", "wikipedia.org")


@settings(max_examples=200)
@given(st.text(max_size=40), st.sampled_from(["http", "https"]))
def test_a_key_is_its_own_key(path: str, scheme: str) -> None:
    key = url_key(f"{scheme}://www.example.org/{path}")
    assert key.isascii()
    assert url_key(f"http://{key}") == key
