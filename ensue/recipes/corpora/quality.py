"""A quality filter's part of a corpus' page: what it kept, and with other alphas; how well it tells, and by what."""

from __future__ import annotations

import html
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ensue.recipes.corpora.drawing import LAYOUT
from ensue.text.curation.curate import PLAN
from ensue.text.curation.passes import DECIDED, in_words
from ensue.text.curation.store import Store
from ensue.text.quality import evaluation as evaluation_file
from ensue.text.quality.evaluation import Decisive, Evaluation, read_evaluation
from ensue.text.quality.report import Judged, QualityReport, Share, report_quality


def quality_sections(store: Store, judged: Mapping[str, Sequence[Judged]]) -> Iterator[str | Any]:
    """HTML and plotly figures, in their order; nothing where no filter judged."""
    steps = json.loads(store.read(PLAN))["steps"] if judged else []
    for name, documents in judged.items():
        alphas = [step["alpha"] for step in steps if in_words(step["kind"]) == name]
        if not alphas:
            continue
        report = report_quality(documents, alphas[0])
        yield f"<h2>The {html.escape(name)}</h2>"
        yield f'<p class="faint">Of {len(documents):,} documents it judged; in a large corpus drawn by their ids.</p>'
        yield _by_score(report)
        yield _shares("alpha", report.by_alpha, marked=f"{report.alpha:g}")
        yield _shares("length", report.by_length)
        yield _shares("collection", report.by_collection)
        evaluation = _evaluation(store, name)
        if evaluation is not None:
            yield _roc(evaluation)
            yield _decisive(evaluation)


def _evaluation(store: Store, step: str) -> Evaluation | None:
    """Of the model that a step trained; None for one that was given its model."""
    for name in store.names(DECIDED):
        if name.endswith(step.replace(" ", "-")):
            return read_evaluation(store.read(f"{DECIDED}/{name}/{evaluation_file.FILE}"))
    return None


def _by_score(report: QualityReport) -> Any:
    from plotly import graph_objects

    names = [share.name for share in report.by_score]
    figure = graph_objects.Figure()
    for label, counts, color in (
        ("judged", [share.documents for share in report.by_score], "#9db4cc"),
        ("kept", [share.documents_kept for share in report.by_score], "#3b6ea5"),
    ):
        figure.add_bar(x=names, y=counts, name=label, marker_color=color)
    figure.update_layout(title="documents by score", barmode="overlay", height=260, **LAYOUT)
    return figure.update_layout(legend={"orientation": "h", "y": -0.2})


def _roc(evaluation: Evaluation) -> Any:
    from plotly import graph_objects

    raw, reference = zip(*evaluation.roc, strict=True)
    figure = graph_objects.Figure(graph_objects.Scatter(x=raw, y=reference, mode="lines", line={"color": "#3b6ea5"}))
    title = f"reference against raw text, held out: AUC {evaluation.auc:.3f}"
    figure.update_layout(title=title, height=300, showlegend=False, **LAYOUT)
    return figure.update_layout(xaxis_title="share of raw text above", yaxis_title="of the reference")


def _shares(name: str, shares: Sequence[Share], *, marked: str = "") -> str:
    rows = "".join(
        f"<tr><td>{_bold(html.escape(share.name), share.name == marked)}</td>"
        f'<td class="n">{share.documents:,}</td><td class="n">{share.documents_kept:,}</td>'
        f'<td class="n">{share.documents_kept / max(1, share.documents):.1%}</td>'
        f'<td class="n">{share.bytes_kept / max(1, share.bytes):.1%}</td></tr>'
        for share in shares
    )
    head = "".join(f'<th class="n">{column}</th>' for column in ("judged", "kept", "of documents", "of bytes"))
    return f'<div class="scroll"><table><tr><th>{name}</th>{head}</tr>{rows}</table></div>'


def _decisive(evaluation: Evaluation) -> str:
    sides = (
        ("speaks for the reference", [each for each in evaluation.decisive if each.weight > 0]),
        ("speaks against it", [each for each in evaluation.decisive if each.weight <= 0]),
    )
    return "".join(f"<p><b>{label}</b> {_tokens(found)}</p>" for label, found in sides if found)


def _tokens(found: Sequence[Decisive]) -> str:
    return ", ".join(f"<code>{html.escape(each.tokens[0])}</code> {each.weight:+.2f}" for each in found if each.tokens)


def _bold(text: str, yes: bool) -> str:
    return f"<b>{text}</b>" if yes else text
