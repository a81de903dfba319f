"""Pages that people have linked to, and others found worth it: the rule by which WebText was chosen."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path

from ensue.text.curation.step import Judge, Verdict, drop, keep
from ensue.text.document import Document
from ensue.text.web.link_list import LinkList, day_of, read_links
from ensue.text.web.urls import host_of, is_in_domain


@dataclass(frozen=True)
class WebTextLinks:
    """Keep documents whose URL was linked to with a score of at least `least_score` by the end of the day `until`.

    GPT-2's rule (Radford et al. 2019, section 2.1): outbound Reddit links with at least 3 karma, none after December
    2017, Wikipedia left out since it is a source of many tests. One document for each URL is a step of its own.

    links             a file with the columns url, score and date: .jsonl, .csv, .tsv (also .gz or .zst) or .parquet.
                      Of several links to a URL, the one with the highest score counts, among those that are early
                      enough. URLs are compared by `ensue.text.web.urls.url_key`
    least_score       the score that a link has to have
    until             the last day, as 2017-12-31; links without a date are left out then. "" for any time
    excluded_domains  documents of these, and of what is below them, are dropped whoever links to them

    Each worker holds 16 bytes for each URL that is linked to well enough: 0.7 GB for WebText's 45 million.
    """

    links: str
    least_score: int = 3
    until: str = "2017-12-31"
    excluded_domains: tuple[str, ...] = ("wikipedia.org",)

    def __post_init__(self) -> None:
        if self.until and day_of(self.until) != self.until:
            raise ValueError(f'until={self.until!r} is not a day; write it as 2017-12-31, or "" for no limit.')
        if any("/" in domain or ":" in domain for domain in self.excluded_domains):
            raise ValueError(f"excluded_domains={self.excluded_domains} are to be domains, such as wikipedia.org.")

    def prepare(self) -> Judge:
        """The judge, with the list of links read. Raises ValueError if there is none, or nothing in it to go by."""
        return partial(self._judge, read_links(Path(self.links), least_score=self.least_score, until=self.until))

    def _judge(self, links: LinkList, document: Document) -> Verdict:
        url = document.meta.get("url", "")
        host = host_of(url)
        if not host:
            return drop("no web address")
        if any(is_in_domain(host, domain.lower().removeprefix("www.")) for domain in self.excluded_domains):
            return drop("an excluded domain", host=host)
        score = links.score(url)
        return drop("not linked to well enough in time") if score is None else keep(document, score=score)
