"""Files and folders in, documents out: reading, storing, and choosing what is held out of training."""

from ensue.text.corpus import CorpusSummary, corpus_columns, read_corpus, write_documents
from ensue.text.document import Document
from ensue.text.find import find_files
from ensue.text.held_out import HoldOutPlan, plan_held_out
from ensue.text.read import read_documents
from ensue.text.skips import SkipReport

__all__ = [
    "CorpusSummary",
    "Document",
    "HoldOutPlan",
    "SkipReport",
    "corpus_columns",
    "find_files",
    "plan_held_out",
    "read_corpus",
    "read_documents",
    "write_documents",
]
