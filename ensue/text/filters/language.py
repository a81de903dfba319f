"""Which language a document is in, by py3langid, and whether that is one of those wanted."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from ensue.core.config import suggest
from ensue.text.curation.step import Judge, Verdict, drop, keep
from ensue.text.document import Document
from ensue.text.filters.language_model import Identifier, load_language_model

UNKNOWN = "und"
"""ISO 639's code for a language that could not be determined."""


@dataclass(frozen=True)
class Language:
    """Keep documents in these languages, and write the language into meta["language"].

    keep        ISO 639-1 codes such as "en" or "zh"; none keeps everything and only says what it is
    least       the least probability, normalised over the languages that py3langid knows (0 to 1)
    characters  the decision is made for the whole document by so many characters from its beginning

    A document whose language is less probable than that, or without any letter, is called "und".
    """

    keep: tuple[str, ...] = ("en",)
    least: float = 0.5
    characters: int = 1000

    def __post_init__(self) -> None:
        if isinstance(self.keep, str):
            raise ValueError(f"keep is a list of languages: write keep=({self.keep!r},).")
        if self.characters < 1:
            raise ValueError(f"characters must be at least 1, not {self.characters}.")

    def prepare(self) -> Judge:
        """Load py3langid's model. Raises ValueError for a code it does not know, or if it is not installed."""
        identify, known = load_identifier()
        for code in self.keep:
            if code not in known:
                raise ValueError(f"The language {code!r} is not known{suggest(code, sorted(known))}")
        return lambda document: self._judge(document, identify)

    def _judge(self, document: Document, identify: Callable[[str], tuple[str, float]]) -> Verdict:
        language, probability = identify(document.text[: self.characters])
        probability = round(probability, 4)
        if probability < self.least:
            language = UNKNOWN
        if self.keep and language not in self.keep:
            reason = "language uncertain" if language == UNKNOWN else "in another language"
            return drop(reason, language=language, probability=probability)
        labelled = replace(document, meta={**document.meta, "language": language})
        return keep(labelled, language=language, probability=probability)


def load_identifier() -> tuple[Callable[[str], tuple[str, float]], frozenset[str]]:
    """A function that gives a text's most probable language with its probability, and the codes it knows."""
    identifier = Identifier(load_language_model())

    def identify(text: str) -> tuple[str, float]:
        if not any(map(str.isalpha, text)):
            return UNKNOWN, 0.0
        return identifier.identify(text)

    return identify, identifier.languages
