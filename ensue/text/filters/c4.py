"""The rules by which C4 cleaned Common Crawl: Raffel et al. 2020, section 2.2."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from ensue.text.curation.step import Judge, Verdict, change, drop
from ensue.text.document import Document
from ensue.text.filters.lines import count_sentences, ends_sentence
from ensue.text.filters.scripts import is_unspaced
from ensue.text.filters.words import cut_words

POLICIES = ("terms of use", "privacy policy", "cookie policy", "uses cookies", "use of cookies", "use cookies")
_CITATIONS = re.compile(r"\[(?:\d{1,3}|edit|citation needed)\]", re.IGNORECASE)


@dataclass(frozen=True)
class C4Rules:
    """Drop lines, then pages, as C4 did. Each rule is of section 2.2 of Raffel et al. 2020, and can be switched off.

    terminal_marks  keep only lines that end with a full stop, exclamation or question mark, or closing quotation mark,
                    in any script; skipped for Thai and Lao, whose sentences end without a mark
    line_words      keep only lines of at least so many words, as `ensue.text.filters.words` counts them
    sentences       drop pages with fewer sentences in the lines that are left; skipped for Thai and Lao too
    javascript      remove lines with the word "javascript"
    policies        remove lines that speak of terms of use, privacy policies or cookies
    citations       remove Wikipedia's marks such as [1], [edit] and [citation needed]
    lorem_ipsum     drop pages with "lorem ipsum"
    curly           drop pages with a curly bracket
    bad_words       a file with one word or phrase a line; pages with any of them are dropped. As whole words, whatever
                    their case; in scripts without spaces, anywhere. The paper's own list is not part of Ensue

    Blank lines stay where lines on both sides do. That C4 also kept one of every span of three sentences is a
    matter of duplicates, and not here; its language choice is `Language`.
    """

    terminal_marks: bool = True
    line_words: int = 5
    sentences: int = 3
    javascript: bool = True
    policies: bool = True
    citations: bool = True
    lorem_ipsum: bool = True
    curly: bool = True
    bad_words: str = ""

    def prepare(self) -> Judge:
        """The judge, with the list of bad words read. Raises ValueError if there is no such file, or nothing in it."""
        is_bad = _bad_words(self.bad_words) if self.bad_words else None
        return lambda document: self._judge(document, is_bad)

    def _judge(self, document: Document, is_bad: Callable[[str], bool] | None) -> Verdict:
        text = document.text
        if self.curly and (brackets := text.count("{") + text.count("}")):
            return drop("a curly bracket", brackets=brackets)
        if self.lorem_ipsum and "lorem ipsum" in text.lower():
            return drop("lorem ipsum")
        if is_bad is not None and is_bad(text):
            return drop("a bad word")
        marked = cut_words(text).marked
        if self.citations and "[" in text:
            text = _CITATIONS.sub("", text)
        before = text.split("\n")
        kept = [line for line in before if not line.strip() or self._keeps(line, marked)]
        facts = {"lines": sum(map(_is_full, before)), "lines_kept": sum(map(_is_full, kept))}
        if not facts["lines_kept"]:
            return drop("no line that C4 keeps", **facts)
        text = _without_gaps(kept) if len(kept) < len(before) else text
        if self.sentences and marked and (sentences := count_sentences(text)) < self.sentences:
            return drop("fewer sentences than C4 asks", sentences=sentences, **facts)
        return change(document, text, "lines that C4 removes", **facts)

    def _keeps(self, line: str, marked: bool) -> bool:
        if self.terminal_marks and marked and not ends_sentence(line):
            return False
        if self.line_words and cut_words(line).count < self.line_words:
            return False
        lower = line.lower()
        if self.javascript and "javascript" in lower:
            return False
        return not (self.policies and any(policy in lower for policy in POLICIES))


def _is_full(line: str) -> bool:
    return bool(line.strip())


def _without_gaps(lines: list[str]) -> str:
    """The lines joined, with no blank line at either end and never two in a row."""
    kept: list[str] = []
    for line in lines:
        if line.strip() or (kept and kept[-1].strip()):
            kept.append(line)
    return "\n".join(kept).strip("\n")


def _bad_words(path: str) -> Callable[[str], bool]:
    try:
        lines = Path(path).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(
            f"bad_words={path!r} cannot be read ({error}); give a text file with one word a line."
        ) from error
    words = sorted({line.strip().lower() for line in lines if line.strip()}, key=lambda word: (-len(word), word))
    if not words:
        raise ValueError(f"bad_words={path!r} has no words in it; give a text file with one word a line.")
    pattern = re.compile("|".join(map(_whole, words)))
    return lambda text: pattern.search(text.lower()) is not None


def _whole(word: str) -> str:
    start = "" if is_unspaced(ord(word[0])) else r"(?<!\w)"
    end = "" if is_unspaced(ord(word[-1])) else r"(?!\w)"
    return f"{start}{re.escape(word)}{end}"
