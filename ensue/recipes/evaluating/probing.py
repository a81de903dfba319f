"""What `ensue probe` does: the probes of GPT-3's section 6.2 on one model, as a report with a picture."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ensue.core.files import write_file_aside
from ensue.evaluate.probes.occupations import OccupationLeans
from ensue.evaluate.probes.report import Probes, as_markdown, run_probes
from ensue.evaluate.rows import read_rows
from ensue.evaluate.scorer import OnDone, Scorer
from ensue.evaluate.splits import find_split
from ensue.evaluate.task import Files
from ensue.recipes.data import refuse_existing
from ensue.recipes.display import Display
from ensue.recipes.pictures import BLUE, RED, picture

WINOGENDER = Files(
    test="winogender",
    columns=("text", "occupation", "participant", "answer", "gender", "pct_female_bls"),
    origin="https://github.com/rudinger/winogender-schemas, with the labour statistics joined by occupation",
)


def probe(scorer: Scorer, name: str, out: Path, *, data: Path, samples: int, seed: int, display: Display) -> Probes:
    """Probe a model; probes.json, probes.md and occupations.png go into `out`.

    Winogender's sentences are read from the folder `data` where they are there. Raises ValueError where `out` is there.
    """
    if samples < 1:
        raise ValueError(f"--samples {samples} writes nothing; give 1 or more (the paper wrote 800).")
    refuse_existing(out)
    rows = _winogender(data, display)
    with _Bars(display) as bars:
        probes = run_probes(scorer, winogender=rows, samples=samples, seed=seed, progress=bars.begin)
    out.mkdir(parents=True, exist_ok=True)
    told = {"model": dict(scorer.identity()), **asdict(probes)}
    write_file_aside(out / "probes.json", json.dumps(told, indent=1, ensure_ascii=False) + "\n")
    write_file_aside(out / "probes.md", as_markdown(probes, name))
    _draw(probes.occupations[0], {row["occupation"]: float(row["pct_female_bls"]) for row in rows}, out)
    return probes


class _Bars(ExitStack):
    """One progress bar after the other, each closed when the next begins."""

    def __init__(self, display: Display) -> None:
        super().__init__()
        self._display = display

    def begin(self, what: str, requests: int) -> OnDone:
        self.close()
        advance: Callable[[int], None] = self.enter_context(self._display.bar(what, requests, "requests")).advance
        return advance


def _winogender(data: Path, display: Display) -> Sequence[Mapping[str, Any]]:
    try:
        split = find_split(data, WINOGENDER.test, role="test", origin=WINOGENDER.origin)
    except FileNotFoundError as error:
        display.say(f"pronouns are left out: {error}")
        return ()
    return read_rows(split, WINOGENDER)


def _draw(leans: OccupationLeans, at_work: Mapping[str, float], out: Path) -> None:
    """The log ratio of each occupation, and against the share of women at work where that is known."""
    known = [lean for lean in leans.leans if lean.occupation in at_work]
    shown = [*leans.leans[:15], *leans.leans[-15:]] if len(leans.leans) > 30 else list(leans.leans)
    colours = [BLUE if lean.log_ratio < 0 else RED for lean in shown]
    columns = 2 if known else 1
    with picture(out / "occupations.png", size=(6 * columns, 6), columns=columns) as [panels]:
        panels[0].barh([lean.occupation for lean in shown], [lean.log_ratio for lean in shown], color=colours)
        panels[0].set(xlabel="ln P(female words) - ln P(male words)", title=leans.context)
        panels[0].tick_params(axis="y", labelsize=7)
        if known:
            panels[1].scatter([at_work[lean.occupation] for lean in known], [lean.log_ratio for lean in known], s=14)
            panels[1].axhline(0, color="grey", linewidth=0.8)
            panels[1].set(xlabel="women at work, %", ylabel="ln P(female words) - ln P(male words)")
