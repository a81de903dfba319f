"""The verb of the web pages."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tyro.conf import Positional

if TYPE_CHECKING:
    from ensue.core.run import RunFolder
    from ensue.studio.run_records import RunRecords, SpanText


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
        from ensue.serve.settings import is_loopback
        from ensue.studio.studio import StudioSettings, check_port, serve_studio

        check_port(self.host, self.port)
        settings = StudioSettings(self.models, self.runs, self.data, self.evaluations, records=run_records())
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


def run_records() -> RunRecords:
    """What the recipes know of runs, for a studio, which knows no recipe."""
    from ensue.studio.run_records import RunRecords

    return RunRecords(why=_why, texts=_texts, rows=_rows, sources=_sources)


def _why(run: RunFolder, step: int) -> Mapping[str, Any]:
    from ensue.recipes.finetuning.why import is_tuning, show_rows
    from ensue.recipes.why import show_documents

    show = show_rows if is_tuning(run) else show_documents
    told: dict[str, Any] = json.loads(show(run, step, as_json=True))
    return told


def _texts(run: RunFolder, step: int) -> SpanText:
    from ensue.recipes.data import Data
    from ensue.recipes.resuming import config_at

    data = Data(run.path.resolve() / config_at(run, step).data)
    shards = {part.name: part.train for part in data.parts}
    return lambda part, start, stop: data.tokenizer.decode(shards[part].tokens[start:stop].tolist())


def _rows(table: Path) -> Mapping[str, Mapping[str, Any]]:
    from ensue.recipes.finetuning.table import read_table

    return {row.source: row.values for row in read_table(table).rows}


def _sources(mixture: Path) -> Sequence[Path]:
    from ensue.recipes.mixture_file import read_mixture

    return [(mixture / source.data).resolve() for source in read_mixture(mixture).sources]
