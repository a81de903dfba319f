"""The main text of web pages, without their menus, advertisements and comments."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec

from ensue.text.curation.step import Judge, Verdict, drop, keep
from ensue.text.document import Document
from ensue.text.web.extractor import Extractor
from ensue.text.web.pages import HTML


@dataclass(frozen=True)
class Extract:
    """Turn documents of type text/html into their main text; others pass as they are.

    seconds          processor time that one page may take; a page that takes longer is dropped. Of 373 real pages the
                     mean took 0.003 s and the slowest 0.12 s, so the limit is for those that would never end
    most_characters  pages with more HTML than that are dropped unread
    comments         keep what readers have written below the text
    tables           keep tables
    enough           the compiled reader of pages is relied on where it finds so many characters (twice as many on pages
                     with much other text), most of what looks like prose being in one part of the page. trafilatura is
                     asked for the others; 0 asks it, in full, for every page. On 373 judged pages the F-score is the
                     same either way: docs/corpus-extraction.md

    Of what the page says about itself, the title, the language and the day it was published go into the meta, and the
    URL and the date too where the archive told none; the type goes. The limits hold in any case, also within C code and
    for pages that make a library crash or use more than 4 GiB: pages are read in a child process, one for each worker.
    What is dropped for its time is the one thing that may differ between a fast and a slow machine.
    """

    seconds: float = 30.0
    most_characters: int = 8_000_000
    comments: bool = False
    tables: bool = True
    enough: int = 500

    def __post_init__(self) -> None:
        if self.seconds <= 0 or self.most_characters <= 0 or self.enough < 0:
            raise ValueError("seconds and most_characters are limits on a page: give more than 0; enough is 0 or more.")

    def prepare(self) -> Judge:
        """The judge, with a child process once it meets a page. Raises ValueError if a library is not installed."""
        if find_spec("trafilatura") is None or find_spec("numba") is None:
            raise ValueError("To extract the text of web pages, type: pip install 'ensue[corpus]'")
        return partial(self._judge, Extractor(self.seconds))

    def _judge(self, extractor: Extractor, document: Document) -> Verdict:
        if document.meta.get("type") != HTML:
            return keep(document)
        before = len(document.text)
        if before > self.most_characters:
            return drop("the page is too large to extract", html_characters=before)
        answer = extractor.extract(
            document.text,
            url=document.meta.get("url", ""),
            fetched=document.meta.get("date", ""),
            comments=self.comments,
            tables=self.tables,
            enough=self.enough,
        )
        if isinstance(answer, str):
            return drop(answer, html_characters=before)
        if not answer.text.strip():
            return drop("no main text on the page", html_characters=before)
        meta = {key: value for key, value in document.meta.items() if key != "type"}
        dated = {"date": answer.meta["published"]} if "published" in answer.meta else {}
        text = Document(document.id, answer.text, document.source, {**dated, **answer.meta, **meta})
        return Verdict((text,), "main text extracted", {"html_characters": before, "characters": len(answer.text)})
