"""The pages with NiceGUI's own simulated user: what is clicked and what is then seen, without a browser."""

import asyncio
import shutil
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from nicegui import ElementFilter, ui
from nicegui.testing import User, user_simulation
from nicegui.testing.general import nicegui_reset_globals

import ensue
from ensue.studio.models import Models
from ensue.studio.studio import StudioSettings, add_pages, mount_studio
from ensue.studio.token_piece import TokenPiece
from ensue.verbs.studio import run_records

from .conftest import World

Visit = Callable[[User], Awaitable[None]]


def visiting(settings: StudioSettings, visit: Visit, *, language: str = "en") -> None:
    """Let a user visit a studio."""

    async def all_of_it() -> None:
        async with user_simulation() as user:
            models = add_pages(settings)
            user.http_client.headers["accept-language"] = language
            try:
                await visit(user)
            finally:
                models.close()

    asyncio.run(all_of_it())


def settings_of(world: World) -> StudioSettings:
    return StudioSettings((), world.runs, (world.corpus,), (world.evaluations,), records=run_records())


def written(user: User) -> str:
    with user:
        pieces = list(ElementFilter(kind=TokenPiece))
    return "".join(token["t"] for piece in pieces for token in piece._props["tokens"])


async def until(holds: Callable[[], bool]) -> None:
    for _ in range(200):
        if holds():
            return
        await asyncio.sleep(0.05)
    raise AssertionError("it never came true")


def test_writing_and_picking(world: World) -> None:
    async def visit(user: User) -> None:
        await user.open("/")
        await user.should_see("Go on", retries=50)
        user.find(kind=ui.textarea).clear().type("the fox")
        user.find(kind=ui.button, content="Write").click()
        await until(lambda: len(written(user)) > 20)
        assert written(user).startswith("the fox")

    visiting(settings_of(world), visit)


def test_a_model_that_has_gone_is_a_message(world: World, tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    shutil.copytree(world.run, runs / "fox", symlinks=True)

    async def visit(user: User) -> None:
        shutil.rmtree(runs / "fox" / "checkpoints" / "00000012")
        await user.open("/runs")
        await user.should_see("Curves", retries=50)
        await user.open("/")
        await user.should_see("Go on", retries=50)
        shutil.rmtree(runs)
        user.find(kind=ui.button, content="Write").click()
        await user.should_see("It is not there any more", retries=50)
        await user.open("/runs")
        await user.should_see("There is no run in", retries=50)

    visiting(StudioSettings((), runs, (), ()), visit)


@pytest.mark.parametrize(("language", "seen"), [("en", "Side by side"), ("zh-CN", "并排比较")])
def test_the_browsers_language_first(world: World, language: str, seen: str) -> None:
    async def visit(user: User) -> None:
        await user.open("/")
        await user.should_see(seen, retries=50)

    visiting(settings_of(world), visit, language=language)


def test_as_a_part_of_another_app(world: World) -> None:
    lm = ensue.load(world.run)
    with nicegui_reset_globals():
        app = FastAPI()
        app.get("/healthz")(lambda: {"well": True})
        mount_studio(app, StudioSettings(runs=world.runs, loaded={"mine": lm}), path="/studio")
        with TestClient(app) as client:
            assert client.get("/healthz").json() == {"well": True}
            assert client.get("/").status_code == 404
            for place in ("/", "/runs", "/inside", "/data", "/evaluate"):
                page = client.get(f"/studio{place}", headers={"accept-language": "zh"})
                assert page.status_code == 200
                assert "/studio/_nicegui/" in page.text
                assert "https://" not in page.text.replace("https://nicegui.io", "")


def test_a_loaded_model_writes_without_being_read_again(world: World, tmp_path: Path) -> None:
    lm = ensue.load(world.run)
    models = Models((), tmp_path, {"mine": lm})
    (choice,) = models.choices()
    try:
        assert models.open(choice).whole() is lm
    finally:
        models.close()


def test_nothing_to_show_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)

    async def visit(user: User) -> None:
        for path, seen in (
            ("/", "There is no model yet"),
            ("/inside", "There is no model yet"),
            ("/runs", "There is no run in"),
            ("/data", "There is no data yet"),
            ("/evaluate", "There is no evaluation yet"),
        ):
            await user.open(path)
            await user.should_see(seen, retries=50)

    visiting(StudioSettings(), visit)
