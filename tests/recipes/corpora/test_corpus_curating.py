"""What `ensue curate` takes from the command line."""

from __future__ import annotations

import pytest

from ensue.recipes.corpora.curating import choose_engine, named_sources, parse_memory
from ensue.recipes.corpora.recipes import RECIPES, Choices, steps_of
from ensue.text.curation.cluster import RayEngine
from ensue.text.curation.local import LocalEngine


def test_sources_by_name_and_by_path() -> None:
    given = ["crawl=pages/", "pages/more.warc.gz", "crawl=other/", "s3://bucket/texts", "odd/na=me/file.txt"]
    assert named_sources(given) == {
        "crawl": ["pages/", "other/"],
        "more": ["pages/more.warc.gz"],
        "texts": ["s3://bucket/texts"],
        "file": ["odd/na=me/file.txt"],
    }


@pytest.mark.parametrize("given", ["a b=pages/", "name="])
def test_a_source_that_cannot_be_named(given: str) -> None:
    with pytest.raises(ValueError, match="write NAME=PATH"):
        named_sources([given])


@pytest.mark.parametrize(
    ("text", "expected"), [("2G", 2 << 30), ("500m", 500 << 20), ("1.5GiB", 3 << 29), ("1000", 1000), ("1 TB", 1 << 40)]
)
def test_memory(text: str, expected: int) -> None:
    assert parse_memory(text) == expected


@pytest.mark.parametrize("text", ["", "much", "2X", "-1G"])
def test_memory_that_is_none(text: str) -> None:
    with pytest.raises(ValueError, match="--max-memory 2G"):
        parse_memory(text)


def test_engines() -> None:
    assert isinstance(choose_engine("local", workers=2, memory=4 << 30, address=None), LocalEngine)
    assert isinstance(choose_engine("ray", workers=None, memory=1, address="auto"), RayEngine)
    with pytest.raises(ValueError, match="--engine ray"):
        choose_engine("local", workers=None, memory=1, address="auto")


def test_recipes_say_what_they_need() -> None:
    with pytest.raises(ValueError, match="did you mean 'gpt3'"):
        steps_of("gpt33", Choices())
    with pytest.raises(ValueError, match="--reference"):
        steps_of("gpt3", Choices())
    with pytest.raises(ValueError, match="--links"):
        steps_of("webtext", Choices())
    assert set(RECIPES) == {"own", "webtext", "gpt3", "books"}
