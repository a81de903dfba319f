"""Web addresses compared: when two of them lead to the same page, and which domain one belongs to."""

from __future__ import annotations

import posixpath
import re
from urllib.parse import quote, urlsplit

DEFAULT_PORTS = {"http": 80, "https": 443}
_ESCAPE = re.compile(r"%([0-9A-Fa-f]{2})")
_SPACE = re.compile(r"[\t\n\r]+")
_UNRESERVED = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")
_KEPT_AS_IT_IS = "%!$&'()*+,;=:@/?[]|{}^\"`\\<>"


def url_key(url: str) -> str:
    """What two URLs share that lead to the same page: `example.org/a/b?x=1`; "" for what is no http(s) address.

    Left out: the scheme, a leading "www.", user and password, the default port, a slash at the end, "." and ".." in the
    path, the fragment, an empty query. The host is in lower case and its international letters are written as in
    DNS; percent-escapes are undone where they need not be (RFC 3986, section 6.2.2) and in upper case where they
    do. The rest of the path and the query differ as they do, order and case included.
    """
    parts = _parts(url)
    if parts is None:
        return ""
    host, port, path, query = parts
    place = f"{host.removeprefix('www.')}:{port}" if port else host.removeprefix("www.")
    return place + _path(path) + (f"?{_escaped(query)}" if query else "")


def host_of(url: str) -> str:
    """The host of an http(s) address, in lower case and as in DNS; "" if it is none."""
    parts = _parts(url)
    return "" if parts is None else parts[0]


def is_in_domain(host: str, domain: str) -> bool:
    """Whether a host is `domain` or below it: en.wikipedia.org is in wikipedia.org, notwikipedia.org is not."""
    return host == domain or host.endswith("." + domain)


def _parts(url: str) -> tuple[str, int | None, str, str] | None:
    """Host, port if it is not the default one, path and query."""
    text = _SPACE.sub("", url.strip())
    if text.startswith("//"):
        text = "http:" + text
    try:
        split = urlsplit(text)
        scheme, host, port = split.scheme.lower(), split.hostname, split.port
    except ValueError:
        return None
    if scheme not in DEFAULT_PORTS or not host:
        return None
    return _dns_name(host), None if port == DEFAULT_PORTS[scheme] else port, split.path, split.query


def _dns_name(host: str) -> str:
    host = host.rstrip(".").lower()
    if host.isascii():
        return host
    try:
        return host.encode("idna").decode("ascii")
    except UnicodeError:
        return host


def _path(path: str) -> str:
    if "/." in path:
        directory = posixpath.normpath("/" + path.lstrip("/"))
        path = directory if directory != "/" else ""
    return _escaped(path.rstrip("/"))


def _escaped(text: str) -> str:
    return _ESCAPE.sub(_least_escape, quote(text, safe=_KEPT_AS_IT_IS, errors="replace"))


def _least_escape(match: re.Match[str]) -> str:
    letter = chr(int(match[1], 16))
    return letter if letter in _UNRESERVED else match[0].upper()
