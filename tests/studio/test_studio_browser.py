"""The studio in a real browser, which reaches nothing but this machine."""

import os
import re
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from ensue.core.run import RunFolder

from .conftest import World

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
from playwright.sync_api import Browser, BrowserContext, Page, Route, expect  # noqa: E402

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
PATIENCE = 20_000
SERVE = """
import sys, torch
from pathlib import Path
from ensue.verbs.studio import Studio
torch.set_num_threads(1)
port, *folders = sys.argv[1:]
runs, data, evaluations = map(Path, folders)
Studio((), runs, (data,), (evaluations,), port=int(port)).start()
"""


@pytest.fixture(scope="module")
def live_run(world: World) -> Path:
    """A copy of the run, for rows to be added to."""
    return Path(shutil.copytree(world.run, world.folder / "live" / "fox", symlinks=True))


@pytest.fixture(scope="module")
def address(world: World, live_run: Path) -> Iterator[str]:
    """A studio in a process of its own, as people start it."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    shutil.copytree(world.tuned, live_run.parent / "tuned", symlinks=True)
    arguments = [str(port), str(live_run.parent), str(world.corpus), str(world.evaluations)]
    said = world.folder / "studio.log"
    with said.open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-c", SERVE, *arguments], stdout=log, stderr=log, cwd=world.folder, env={**os.environ}
        )
        try:
            deadline = time.monotonic() + 60
            while "the studio is at" not in said.read_text(encoding="utf-8"):
                assert process.poll() is None, said.read_text(encoding="utf-8")
                assert time.monotonic() < deadline
                time.sleep(0.1)
            yield f"http://127.0.0.1:{port}"
        finally:
            process.terminate()
            process.wait(timeout=20)
    text = said.read_text(encoding="utf-8")
    assert "Traceback" not in text, text


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    if CHROMIUM is None:
        pytest.skip("there is no chromium on this machine")
    with playwright.sync_playwright() as started:
        browser = started.chromium.launch(executable_path=CHROMIUM)
        yield browser
        browser.close()


@pytest.fixture
def context(browser: Browser) -> Iterator[BrowserContext]:
    """A fresh browser whose requests to anywhere else fail, and then the test with them."""
    context = browser.new_context(locale="en-US", viewport={"width": 1200, "height": 900})
    elsewhere: list[str] = []
    errors: list[str] = []

    def only_here(route: Route) -> None:
        if urlsplit(route.request.url).hostname == "127.0.0.1":
            route.continue_()
        else:
            elsewhere.append(route.request.url)
            route.abort()

    context.route("**/*", only_here)
    context.on("weberror", lambda error: errors.append(str(error.error)))
    context.set_default_timeout(PATIENCE)
    expect.set_options(timeout=PATIENCE)
    yield context
    context.close()
    assert elsewhere == []
    assert errors == []


def write(page: Page, prompt: str) -> None:
    page.get_by_label("The beginning").fill(prompt)
    page.get_by_role("button", name="Write", exact=True).click()
    expect(page.locator(".sheet-text .token").nth(12)).to_be_visible()
    expect(page.locator(".sheet-text.live")).to_have_count(0)


def text_of(page: Page) -> str:
    return page.locator(".sheet-text").first.evaluate(
        "(sheet) => [...sheet.querySelectorAll('.token')].map((token) => token.textContent).join('')"
    )


def test_write_branch_and_look_inside(address: str, context: BrowserContext) -> None:
    page = context.new_page()
    page.goto(address)
    write(page, "the fox")
    first = text_of(page)
    assert first.startswith("the fox")
    page.locator(".sheet-text .token").nth(8).hover()
    card = page.locator(".token-card")
    expect(card.locator(".token-other")).to_have_count(8)
    card.locator(".token-other:not(.chosen)").nth(1).click()
    expect(page.locator(".branch")).to_have_count(2)
    expect(page.locator(".sheet-text.live")).to_have_count(0)
    expect(page.locator(".sheet-text .token.person")).to_have_count(1)
    second = text_of(page)
    assert second != first
    page.locator(".branch").first.click()
    expect(page.locator(".sheet-text .token.person")).to_have_count(0)
    assert text_of(page) == first
    page.get_by_role("button", name="Back").click()
    expect(page.locator(".sheet-text .token.person")).to_have_count(1)
    assert text_of(page) == second

    # With the keyboard alone: to a token, its card, another token.
    page.locator(".sheet-text .token").first.focus()
    for _ in range(10):
        page.keyboard.press("ArrowRight")
    page.keyboard.press("Enter")
    for _ in range(2):
        page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    expect(page.locator(".branch")).to_have_count(3)

    # Another tab has a text of its own; a reload keeps the one that is there.
    other = context.new_page()
    other.goto(address)
    write(other, "a crow")
    third = text_of(page)
    page.reload()
    expect(page.locator(".branch")).to_have_count(3)
    assert text_of(page) == third
    other.close()

    page.get_by_role("button", name="Look inside this text").click()
    expect(page.locator(".looked .token").nth(5)).to_be_visible()
    expect(page.locator(".lens .heatmaplayer")).to_have_count(1)
    page.locator(".looked .token").nth(4).click()
    expect(page.locator(".looked .token").nth(4)).to_have_class("token current")
    page.get_by_role("link", name="Write").click()
    page.get_by_role("switch", name="Side by side").click()
    expect(page.locator(".sheet-text")).to_have_count(2)
    page.get_by_role("button", name="Write", exact=True).click()
    expect(page.locator(".sheet-text").nth(1).locator(".token").nth(12)).to_be_visible()


def test_every_other_page_in_both_languages(address: str, context: BrowserContext, live_run: Path) -> None:
    page = context.new_page()
    page.goto(f"{address}/runs")
    row = page.locator("tbody tr", has_text="fox").first
    expect(row).to_contain_text("12")
    expect(page.locator(".js-plotly-plot .scatterlayer .trace").first).to_be_visible()
    run = RunFolder(live_run)
    with run.locked():  # a training in this process
        run.tell("continued", 12, {})
        last = next(row for row in reversed(run.rows()) if "loss" in row)
        run.log({**last, "step": 13, "loss": 0.125})
        expect(row).to_contain_text("13")
        expect(row).to_contain_text("running")
        expect(row).to_contain_text("0.125")
    page.get_by_role("spinbutton", name="Step").fill("3")
    page.get_by_role("button", name="Show what it read").click()
    expect(page.locator(".document pre").first).to_be_visible()
    assert page.locator(".document pre b").count() == 0  # the text has tags, the page none of them

    page.get_by_role("button", name="中文").click()
    expect(page.locator("nav")).to_contain_text("写作")
    assert page.locator("html").get_attribute("lang") == "zh"
    page.get_by_role("link", name="数据").click()
    expect(page.locator(".document").first).to_be_visible()
    page.get_by_label("搜索").fill("狐狸")
    page.keyboard.press("Enter")
    expect(page.locator("mark").first).to_have_text("狐狸")
    page.get_by_role("button", name="去掉的文档").click()
    page.locator("tr.link").first.click()
    expect(page.locator(".document pre").first).to_have_text("<i>no</i>")

    page.get_by_role("button", name="English").click()
    page.set_viewport_size({"width": 390, "height": 800})
    page.get_by_role("link", name="Evaluate").click()
    page.locator("td.number").first.click()
    expect(page.locator(".document").first).to_be_visible()
    assert page.locator(".document pre b").count() == 0
    wide = page.evaluate("document.documentElement.scrollWidth")
    assert wide <= 390
    page.locator("header button").first.click()
    page.locator("header button").first.click()
    expect(page.locator("body")).to_have_class(re.compile("body--dark"))


def test_only_this_machines_own_names_are_answered(address: str) -> None:
    """A page elsewhere that lets its own name lead here is refused."""
    request = urllib.request.Request(address, headers={"Host": "evil.example"})
    with pytest.raises(urllib.error.HTTPError) as error:
        urllib.request.urlopen(request)
    assert error.value.code == 400
