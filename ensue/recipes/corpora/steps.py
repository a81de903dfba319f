"""Every step that a recipe may have, to write one's own: `from ensue.recipes.corpora.steps import Extract, C4Rules`."""

from ensue.text.contamination.decontaminate import Decontaminate
from ensue.text.duplicates.near import NearDuplicates, gpt3_near_duplicates
from ensue.text.duplicates.paragraphs import RepeatedParagraphs
from ensue.text.duplicates.repeats import RepeatedTexts, RepeatedUrls
from ensue.text.filters.c4 import C4Rules
from ensue.text.filters.fineweb import FineWebRules
from ensue.text.filters.gopher_quality import GopherQuality
from ensue.text.filters.gopher_repetition import GopherRepetition
from ensue.text.filters.language import Language
from ensue.text.filters.length import Length
from ensue.text.filters.mend import Mend
from ensue.text.filters.personal import PersonalData
from ensue.text.quality.judging import KnownQuality
from ensue.text.quality.step import QualityFilter
from ensue.text.web.extract import Extract
from ensue.text.web.links import WebTextLinks

__all__ = [
    "C4Rules",
    "Decontaminate",
    "Extract",
    "FineWebRules",
    "GopherQuality",
    "GopherRepetition",
    "KnownQuality",
    "Language",
    "Length",
    "Mend",
    "NearDuplicates",
    "PersonalData",
    "QualityFilter",
    "RepeatedParagraphs",
    "RepeatedTexts",
    "RepeatedUrls",
    "WebTextLinks",
    "gpt3_near_duplicates",
]
