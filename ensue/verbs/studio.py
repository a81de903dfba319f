"""The verb of the web pages."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from tyro.conf import Positional


@dataclass(frozen=True)
class Studio:
    """Open the studio: pages to write with models, watch runs, look inside, and read data and evaluations.

    It is for this machine alone unless --host says otherwise, and needs no internet.

      ensue studio
      ensue studio runs/books openai-community/gpt2 --port 8081
    """

    models: Positional[tuple[str, ...]] = ()
    """Models to write with, besides those of the runs: checkpoints, Hugging Face folders or Hub names."""
    runs: Path = Path("runs")
    """The folder whose runs are shown."""
    data: tuple[Path, ...] = ()
    """Folders of data or corpora to show, besides those that the runs were trained on."""
    evaluations: tuple[Path, ...] = (Path("evaluations"),)
    """Folders with evaluations to show."""
    host: str = "127.0.0.1"
    """The address to serve at. Whoever can reach it can read all that is shown: there is no password."""
    port: int = 8080
    """The port to serve at."""

    def start(self) -> None:
        from ensue.recipes.display import Display
        from ensue.studio.studio import StudioSettings, check_port, is_loopback, serve_studio

        check_port(self.host, self.port)
        settings = StudioSettings(self.models, self.runs, self.data, self.evaluations)
        shown = f"[{self.host}]" if ":" in self.host else self.host
        display = Display()
        if not is_loopback(self.host):
            display.say(f"Anyone who can reach {self.host} can read what the studio shows and use its models.")
        serve_studio(
            settings,
            host=self.host,
            port=self.port,
            on_ready=lambda: display.say(f"the studio is at http://{shown}:{self.port}  (Ctrl+C ends it)"),
        )
