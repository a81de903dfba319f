"""What the quick reader of pages knows of HTML: its elements and their kinds, and names that authors give to parts.

Kinds of elements are those of the HTML standard (WHATWG, sections 12 and 13.1.2). The names are what pages commonly
call their parts in class, id, role and itemprop, gathered for this file.
"""

from __future__ import annotations

import functools

import numpy as np

BLOCK, VOID, RAW, SKIP, ENDS_PARAGRAPH, INLINE = (1 << bit for bit in range(6))
"""Kinds: a block of its own; without content; with text that is no markup; never main text; ends an open paragraph;
part of a line."""

HEADING, ITEM, CELL, LINK, ARTICLE, FRAME, WHOLE, FORM, BREAK, VERBATIM, NAMED, PLACED = (
    1 << bit for bit in range(6, 18)
)
"""More: headings; list items; cells; links; articles; what may hold an article; what is never cut out whole; forms;
line breaks; preformatted text; what may be cut out by its name; what says something of the page."""

_KINDS = (
    (BLOCK, "address article aside blockquote body br caption center dd details dialog dir div dl dt fieldset"),
    (BLOCK, "figcaption figure footer form frameset h1 h2 h3 h4 h5 h6 head header hgroup hr html legend li main menu"),
    (BLOCK, "nav noframes ol optgroup option p pre section select summary table tbody td textarea tfoot th thead"),
    (BLOCK, "title tr ul audio canvas iframe object picture video"),
    (VOID, "area base br col embed frame hr img input link meta param source track wbr"),
    (RAW, "iframe noembed noframes noscript script style textarea title xmp"),
    (SKIP, "applet area aside audio button canvas datalist dialog figure footer head iframe ins label legend map"),
    (SKIP, "marquee math menu nav noembed noframes noscript object optgroup option picture progress rp rt rtc script"),
    (SKIP, "select style svg template textarea time title use video xmp"),
    (ENDS_PARAGRAPH, "address article aside blockquote center details dialog dir div dl fieldset figcaption figure"),
    (ENDS_PARAGRAPH, "footer form h1 h2 h3 h4 h5 h6 header hgroup hr main menu nav ol p pre section summary table ul"),
    (INLINE, "a abbr acronym b bdi bdo big cite code data del dfn em font i ins kbd label mark nobr q s samp small"),
    (INLINE, "span strike strong sub sup time tt u var"),
    (HEADING, "h1 h2 h3 h4 h5 h6 summary"),
    (ITEM, "li dd dt"),
    (CELL, "td th"),
    (LINK, "a"),
    (ARTICLE, "article"),
    (FRAME, "article div main section td"),
    (WHOLE, "article body html main"),
    (FORM, "fieldset form"),
    (BREAK, "br"),
    (VERBATIM, "pre"),
    (NAMED, "article aside dd details div dl dt figure h2 h3 h4 h5 h6 header li ol p section span table td tr ul"),
    (PLACED, "abbr h1 link meta time title"),
)

HIDDEN, BESIDE, COMMENTS, BODY, STORY, CONTENT, DATED = (1 << bit for bit in range(7))
"""What an element's names say: it is not shown; stands beside the main text; holds readers' comments; is the article's
body; is probably; is the content at large; tells a date."""

# A sign before a name says where it may begin: ^ at the beginning of a value's word, _ at the beginning of a word or of
# a part of one (after a hyphen or another sign, or a capital that follows a small letter), none anywhere. $ ends it at
# a word's end, and - is any sign.
_NAMES = (
    (BESIDE, "_nav navbar navigation subnav menu breadcrumb bread-crumb sidebar footer skip-link pagination pager"),
    (BESIDE, "newsletter cookie consent social share- sharing _share sharedaddy shariff addtoany sociable subscribe"),
    (BESIDE, "_tags taglist tag-list author-box author-bio _byline _author banner button related recommend popular"),
    (BESIDE, "trending next-article next-post most-read mostread more-on more-stories outbrain taboola criteo dfp-"),
    (BESIDE, "_ad$ ^ad- _ads$ _advert adsense advertisement anzeige _promo sponsor widget _teaser teaser _toolbar"),
    (BESIDE, "postmeta post-meta entry-meta article-meta _meta$ meta- -meta _metadata rating _attachment timestamp"),
    (BESIDE, "user-info user-profile vcard -icon overlay modal popup slide carousel expand embed print-only noprint"),
    (BESIDE, "_login signup _tooltip _bar$ -bar options viewport _hidden$ hide- -hide _hide$ screen-reader"),
    (BESIDE, "visually-hidden sr-only message _caption caption akismet _rss disclaimer paywall premium permission"),
    (BESIDE, "impressum copyright colophon _toc$ masthead _credit _source$ yarpp gallery-nav _search searchform"),
    (BESIDE, "_poll _quiz"),
    (COMMENTS, "^comments ^comment- ^comment$ _comments$ comment-list commentlist comments-area comment-respond"),
    (COMMENTS, "^comol -comments disqus dsq-comments respond _kommentar _kommentare"),
    (BODY, "^post$ ^entry$ articlebody article-body article--body article-text articletext article-content"),
    (BODY, "article--content articlecontent post-body postbody post-text posttext post-content postcontent"),
    (BODY, "post-entry postentry entry-content entry-text entry-body entrytext art-content text-content"),
    (BODY, "textcontent page-content pagecontent body-text bodytext story-text storytext"),
    (STORY, "story-body storybody story-content storycontent ^story$ ^article$ ^article ^text$ single-post"),
    (STORY, "single-content blog-content section-content theme-content main-column field-body fulltext ^primary"),
    (STORY, "postarea blogpost blog-post news-text newstext beitrag _artikel wpb-text-column"),
    (CONTENT, "^content$ ^content- _content$ content-main main-content content-body contentbody maincontent ^main"),
    (CONTENT, "_inhalt _contenido"),
    (DATED, "date datum _time timestamp publi posted updated created fecha byline _info article-info post-meta"),
    (DATED, "postmeta entry-meta _meta dateline pubdate submitted"),
)
LONGEST_NAME = 24
ANY_SIGN, AT_WORD, AT_END, AT_PART, SIGNS = 36, 37, 38, 39, 40
_HASH_FACTOR, _HASH_MASK = 131, (1 << 62) - 1


def elements() -> dict[str, int]:
    """The code of each element that is known, from 1 on; 0 stands for any other."""
    names = sorted({name for _, listed in _KINDS for name in listed.split()})
    return {name: code for code, name in enumerate(names, start=1)}


@functools.cache
def element_tables() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(hashes of the elements' names, ascending; the code of each; kinds by code). int64, int16, int32."""
    codes = elements()
    kinds = np.zeros(len(codes) + 1, np.int32)
    for kind, listed in _KINDS:
        for name in listed.split():
            kinds[codes[name]] |= kind
    hashes = sorted((_hash(name), code) for name, code in codes.items())
    return (
        np.array([value for value, _ in hashes], np.int64),
        np.array([code for _, code in hashes], np.int16),
        kinds,
    )


@functools.cache
def name_trie() -> tuple[np.ndarray, np.ndarray]:
    """All names as one trie: (nodes, SIGNS) the node that follows a sign, 0 for none; (nodes,) what ends there."""
    nodes, said = [[0] * SIGNS], [0]
    for meaning, listed in _NAMES:
        for name in listed.split():
            assert len(name) <= LONGEST_NAME
            node = 0
            for sign in map(_sign, name):
                if not nodes[node][sign]:
                    nodes[node][sign] = len(nodes)
                    nodes.append([0] * SIGNS)
                    said.append(0)
                node = nodes[node][sign]
            said[node] |= meaning
    return np.array(nodes, np.int32), np.array(said, np.int64)


def _sign(character: str) -> int:
    if "a" <= character <= "z":
        return ord(character) - ord("a")
    return {"-": ANY_SIGN, "^": AT_WORD, "$": AT_END, "_": AT_PART}[character]


def _hash(name: str) -> int:
    value = 0
    for byte in name.encode():
        value = (value * _HASH_FACTOR + byte) & _HASH_MASK
    return value
