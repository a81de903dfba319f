"""Texts sorted by a word that the model would write after them: SST-2, film reviews, AG News and TREC.

The words and the layout are those of Zhao et al. 2021 (Calibrate Before Use, table of prompts), who show GPT-3 up to
sixteen examples; the label with the highest probability is the model's choice.
"""

from __future__ import annotations

from collections.abc import Sequence

from ensue.evaluate.metrics import accuracies, macro_f1
from ensue.evaluate.task import Files, Item, Row, Task
from ensue.evaluate.tasks.options import continuations
from ensue.evaluate.tasks.published import label_of, one_of

POLARITIES = ("Negative", "Positive")
TOPICS = ("World", "Sports", "Business", "Technology")
KINDS = ("Abbreviation", "Description", "Entity", "Person", "Location", "Number")


def _sst2(row: Row) -> Item:
    return _sorted_as(f"Review: {one_of(row, 'text', 'sentence').strip()}\nSentiment:", row, POLARITIES)


def _film(row: Row) -> Item:
    """A review is one line, since lines part the examples."""
    return _sorted_as(f"Review: {' '.join(row['text'].split())}\nSentiment:", row, POLARITIES)


def _news(row: Row) -> Item:
    return _sorted_as(f"Article: {row['text'].strip()}\nAnswer:", row, TOPICS)


def _question(row: Row) -> Item:
    return _sorted_as(f"Question: {row['text'].strip()}\nAnswer Type:", row, KINDS)


def _sorted_as(context: str, row: Row, words: Sequence[str]) -> Item:
    return continuations(context, words, label_of(row, "label", names=words))


SST2 = Task(
    name="sst2",
    about="whether a phrase of a film review is for or against it (Socher et al. 2013)",
    files=Files(
        test="sst2_dev",
        train="sst2_train",
        columns=("label",),
        origin="https://gluebenchmark.com/tasks (SST-2, dev.tsv and train.tsv)",
    ),
    item=_sst2,
    metrics=(*accuracies("sum"), macro_f1("sum", classes=2)),
    scoring="sum",
    shots=16,
)

MOVIE_REVIEWS = Task(
    name="movie_reviews",
    about="whether a whole film review is for or against it (Pang and Lee 2004)",
    files=Files(
        test="movie_reviews_train",
        train="movie_reviews_train",
        columns=("text", "label"),
        origin="https://www.cs.cornell.edu/people/pabo/movie-review-data (polarity dataset v2.0)",
    ),
    item=_film,
    metrics=(*accuracies("sum"), macro_f1("sum", classes=2)),
    scoring="sum",
)

AG_NEWS = Task(
    name="agnews",
    about="what a piece of news is about, of four (Zhang et al. 2015)",
    files=Files(
        test="agnews_dev",
        train="agnews_dev",
        columns=("text", "label"),
        origin="http://groups.di.unipi.it/~gulli/AG_corpus_of_news_articles.html",
    ),
    item=_news,
    metrics=(*accuracies("sum"), macro_f1("sum", classes=4)),
    scoring="sum",
    header="Classify the news articles into the categories of World, Sports, Business, and Technology.\n\n",
    shots=16,
)

TREC = Task(
    name="trec",
    about="what kind of answer a question asks for, of six (Li and Roth 2002)",
    files=Files(
        test="trec_test",
        train="trec_train",
        columns=("text", "label"),
        origin="https://cogcomp.seas.upenn.edu/Data/QA/QC",
    ),
    item=_question,
    metrics=(*accuracies("sum"), macro_f1("sum", classes=6)),
    scoring="sum",
    header="Classify the questions based on whether their answer type is a Number, Location, Person, Description, "
    "Entity, or Abbreviation.\n\n",
    shots=16,
)

TASKS = (SST2, MOVIE_REVIEWS, AG_NEWS, TREC)
