"""The two languages, and where the studio lets itself be reached."""

import re
import socket
from pathlib import Path

import pytest

from ensue.serve.settings import is_loopback
from ensue.studio import texts
from ensue.studio.problems import problem_of
from ensue.studio.studio import check_port
from ensue.studio.texts import TEXTS, choose_language, say_problem, speaker


@pytest.mark.parametrize(
    ("cookie", "accepted", "language"),
    [
        (None, None, "en"),
        (None, "zh-CN,zh;q=0.9,en;q=0.8", "zh"),
        (None, "en-US,en;q=0.9,zh;q=0.8", "en"),
        (None, "de, zh;q=0.3, en;q=0.2", "zh"),
        (None, "fr;q=x, *", "en"),
        ("zh", "en", "zh"),
        ("en", "zh", "en"),
        ("xx", "zh-TW", "zh"),
    ],
)
def test_the_language_that_is_chosen(cookie: str | None, accepted: str | None, language: str) -> None:
    assert choose_language(cookie, accepted) == language


def test_both_languages_say_the_same_facts() -> None:
    for key, (english, chinese) in TEXTS.items():
        assert english
        assert chinese
        assert sorted(re.findall(r"\{\d\}", english)) == sorted(re.findall(r"\{\d\}", chinese)), key


def test_every_text_that_is_asked_for_is_there() -> None:
    folder = Path(texts.__file__).parent
    asked = {
        key
        for path in folder.glob("*.py")
        for key in re.findall(r'(?:say|words|Problem)\(\s*"([a-z_]+(?:\.[a-z_]+)*)"', path.read_text(encoding="utf-8"))
    }
    assert len(asked) > 50
    assert asked - TEXTS.keys() == set()


def test_what_went_wrong_is_said_in_words() -> None:
    for error in (ValueError("x {1}"), FileNotFoundError("runs/y"), RuntimeError("z")):
        for language in ("en", "zh"):
            said = say_problem(speaker(language), problem_of(error))  # type: ignore[arg-type]
            assert str(error) in said
            assert "Traceback" not in said


def test_loopback_and_ports() -> None:
    assert all(map(is_loopback, ("localhost", "127.0.0.1", "127.3.2.1", "::1")))
    assert not any(map(is_loopback, ("0.0.0.0", "::", "192.168.1.7", "example.org")))
    with socket.socket() as busy:
        busy.bind(("127.0.0.1", 0))
        busy.listen()
        with pytest.raises(ValueError, match="another port, such as --port"):
            check_port("127.0.0.1", busy.getsockname()[1])
