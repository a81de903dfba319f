"""The studio as a whole: what it looks at, and how it is served, by itself or as a part of another app."""

from __future__ import annotations

import importlib.util
import socket
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from ensue.generate.lm import LM
from ensue.serve.settings import is_loopback
from ensue.studio.run_records import RunRecords

if TYPE_CHECKING:
    from fastapi import FastAPI

    from ensue.studio.models import Models, RunningModel


@dataclass(frozen=True)
class StudioSettings:
    """What a studio shows.

    models       to write with, as `ensue.load` takes them; those of the runs come after them
    runs         the folder whose runs are shown
    data         folders of data and corpora, besides those that the runs were trained on
    evaluations  folders with evaluations, or evaluations themselves
    loaded       models that are in memory already, by a name for people
    running      models that somebody else runs already, and ends
    records      how it is read what steps were trained on; without it, that is not shown
    """

    models: tuple[str, ...] = ()
    runs: Path = Path("runs")
    data: tuple[Path, ...] = ()
    evaluations: tuple[Path, ...] = (Path("evaluations"),)
    loaded: Mapping[str, LM] = field(default_factory=dict)
    running: Mapping[str, RunningModel] = field(default_factory=dict)
    records: RunRecords | None = None


def add_pages(settings: StudioSettings) -> Models:
    """Give NiceGUI the pages; returns the models they write with, to be closed at the end."""
    _need_libraries()
    from ensue.studio.data_page import add_data_page
    from ensue.studio.evaluate_page import add_evaluate_page
    from ensue.studio.inside_page import add_inside_page
    from ensue.studio.models import Models
    from ensue.studio.run_book import RunBook
    from ensue.studio.runs_page import add_runs_page
    from ensue.studio.write_page import add_write_page

    models = Models(settings.models, settings.runs, settings.loaded, settings.running)
    add_write_page(models)
    add_inside_page(models)
    add_runs_page(RunBook(settings.runs), settings.records)
    add_data_page(settings.data, settings.runs, settings.records)
    add_evaluate_page(settings.evaluations)
    return models


def mount_studio(app: FastAPI, settings: StudioSettings, *, path: str = "/") -> None:
    """Add the pages to an app, below `path`; their threads end when the app does.

    One process has one studio: NiceGUI keeps its pages by process. Raises ValueError where NiceGUI is missing.
    """
    models = add_pages(settings)
    from nicegui import app as pages
    from nicegui import ui

    # Where it looks for its server, NiceGUI touches every object there is, torch's deprecated ones too.
    warnings.filterwarnings("ignore", category=FutureWarning, module="nicegui")
    pages.on_shutdown(models.close)
    ui.run_with(
        app,
        mount_path=path,
        title="Ensue",
        favicon=FAVICON,
        dark=None,
        tailwind=False,
        show_welcome_message=False,
        reconnect_timeout=30.0,
    )


FAVICON = (
    '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 32 32"><rect width="32" height="32" rx="7" fill="#2f6690"/>'
    '<path d="M8 10h16M8 16h11M8 22h6" stroke="#fff" stroke-width="3" stroke-linecap="round"/></svg>'
)


def make_app(settings: StudioSettings, *, host: str = "127.0.0.1") -> FastAPI:
    """The studio as an app of its own. On loopback it answers to this machine's own names only, so that no web page
    can reach it by having its name lead here."""
    _need_libraries()
    from fastapi import FastAPI
    from starlette.middleware.trustedhost import TrustedHostMiddleware

    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    if is_loopback(host):
        app.add_middleware(TrustedHostMiddleware, allowed_hosts=["localhost", "127.0.0.1", "[::1]", "["])
    mount_studio(app, settings)
    return app


def serve_studio(
    settings: StudioSettings, *, host: str, port: int, on_ready: Callable[[], None] = lambda: None
) -> None:
    """Serve until stopped; `on_ready` is called once it answers."""
    app = make_app(settings, host=host)
    import uvicorn
    from nicegui import app as pages

    pages.on_startup(on_ready)
    uvicorn.run(app, host=host, port=port, log_level="warning", timeout_graceful_shutdown=2)


def check_port(host: str, port: int) -> None:
    """Raises ValueError, saying what to type, where nothing can be served there."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise ValueError(
                f"{host}:{port} cannot be used ({error.strerror}); give another port, such as --port {port + 1}."
            ) from error


def _need_libraries() -> None:
    if importlib.util.find_spec("nicegui") is None:
        raise ValueError("the studio needs nicegui; type: pip install 'ensue[studio]'")
