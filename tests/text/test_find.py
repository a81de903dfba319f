"""Which files are found, under which names, and what is said about paths that cannot be read."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from ensue.text.find import find_files, find_named_files, kind_of
from ensue.text.skips import SkipReport


def write(root: Path, *names: str) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(name)


def names(*paths: Path) -> list[str]:
    return [found.name for found in find_named_files(paths, skipped=SkipReport())]


def test_folders_are_searched_to_the_bottom_in_order(tmp_path: Path) -> None:
    write(
        tmp_path / "books", "b.txt", "a/z.md", "a/b/c.jsonl.gz", ".hidden.txt", ".git/x.txt", "photo.jpg", "B.TXT.ZST"
    )
    expected = ["books/B.TXT.ZST", "books/a/b/c.jsonl.gz", "books/a/z.md", "books/b.txt", "books/photo.jpg"]
    assert names(tmp_path / "books") == expected
    assert [path.relative_to(tmp_path).as_posix() for path in find_files([tmp_path / "books"])] == expected


def test_endings() -> None:
    assert kind_of("a.b.JSONL.gz") == (".jsonl", ".gz")
    assert kind_of("x.txt") == (".txt", "")
    assert kind_of("x.txt.bz2") is None
    assert kind_of("txt") is None


def test_a_missing_path_names_the_nearest(tmp_path: Path) -> None:
    write(tmp_path, "books/little-women.txt")
    with pytest.raises(FileNotFoundError, match=r"little-woman\.txt does not exist; did you mean .*/little-women\.txt"):
        find_files([tmp_path / "books" / "little-woman.txt"])
    with pytest.raises(FileNotFoundError, match=r"did you mean .*/books'?\?"):
        find_files([tmp_path / "boks" / "little-women.txt"])


def test_nothing_to_read_says_what_is_read(tmp_path: Path) -> None:
    write(tmp_path, "pictures/a.jpg", "notes.rst")
    (tmp_path / "empty").mkdir()
    for path in (tmp_path / "pictures", tmp_path / "empty", tmp_path / "notes.rst"):
        with pytest.raises(ValueError, match=r"\.txt, \.md, \.jsonl, \.parquet"):
            find_files([path])
    with pytest.raises(ValueError, match="name one or more"):
        find_files([])


def test_equal_names_are_told_apart(tmp_path: Path) -> None:
    write(tmp_path, "en/books/a.txt", "fr/books/a.txt", "other/b.txt")
    assert names(tmp_path / "en/books", tmp_path / "fr/books", tmp_path / "other") == [
        "en/books/a.txt",
        "fr/books/a.txt",
        "other/b.txt",
    ]
    two = names(tmp_path / "en/books/a.txt", tmp_path / "fr/books/a.txt", tmp_path / "other")
    assert two == ["en/books/a.txt", "fr/books/a.txt", "other/b.txt"]


def test_nothing_is_taken_twice(tmp_path: Path) -> None:
    write(tmp_path, "books/a.txt", "books/deep/b.txt")
    assert names(tmp_path / "books", tmp_path / "books", tmp_path / "books/a.txt") == [
        "books/a.txt",
        "books/deep/b.txt",
    ]
    assert names(tmp_path / "books" / "..", tmp_path / "books") == [
        f"{tmp_path.name}/books/a.txt",
        f"{tmp_path.name}/books/deep/b.txt",
    ]


def test_links_are_followed_once_and_never_in_circles(tmp_path: Path) -> None:
    write(tmp_path, "books/real/a.txt", "outside/b.txt", "blobs/0123")
    os.symlink("..", tmp_path / "books/up")
    os.symlink("real", tmp_path / "books/again")
    os.symlink(tmp_path / "outside", tmp_path / "books/linked")
    os.symlink(tmp_path / "outside", tmp_path / "outside/self")
    os.symlink(tmp_path / "blobs/0123", tmp_path / "books/cached.txt")
    os.symlink("nowhere", tmp_path / "books/broken.txt")
    skipped = SkipReport()
    found = find_named_files([tmp_path / "books", tmp_path / "blobs/0123"], skipped=skipped)
    assert [file.name for file in found] == ["books/cached.txt", "books/linked/b.txt", "books/real/a.txt"]
    assert skipped.examples("not a regular file") == ["books/broken.txt"]


def test_a_pipe_does_not_hang(tmp_path: Path) -> None:
    write(tmp_path, "books/a.txt")
    os.mkfifo(tmp_path / "books/pipe.txt")
    assert names(tmp_path / "books") == ["books/a.txt"]
    with pytest.raises(ValueError, match="not a regular file"):
        find_files([tmp_path / "books/pipe.txt"])


def test_a_file_name_that_is_not_utf8_gives_a_storable_source(tmp_path: Path) -> None:
    folder = tmp_path / "books"
    folder.mkdir()
    try:
        (folder / os.fsdecode(b"caf\xe9.txt")).write_text("x")
    except OSError:
        pytest.skip("this file system takes UTF-8 names only")
    assert names(folder) == ["books/caf\\xe9.txt"]
