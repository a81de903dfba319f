"""One page about a corpus: what each step dropped and why, in pictures, numbers and samples. It needs nothing else."""

from __future__ import annotations

import html
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ensue.recipes.corpora.drawing import LAYOUT
from ensue.recipes.corpora.findings import Cluster, Findings, Sample, gather
from ensue.recipes.corpora.quality import quality_sections
from ensue.text.curation.curate import Summary, read_summary
from ensue.text.curation.store import Store

REPORT = "report.html"
MOST_HISTOGRAMS = 12

STYLE = """
:root { color-scheme: light dark; --ink: #1c2430; --paper: #fbfaf7; --faint: #6b7280; --line: #d9d6cf; --card: #fff; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e6e3dc; --paper: #16191e; --faint: #9aa3af; --line: #333a44; --card: #1e232a; } }
body { font: 16px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--paper); margin: 0 auto;
  max-width: 1060px; padding: 1.5rem; }
h1 { font-size: 1.7rem; margin: 0 0 .2rem; } h2 { margin: 2.4rem 0 .6rem; font-size: 1.25rem; }
p.lead, .faint { color: var(--faint); } table { border-collapse: collapse; width: 100%; font-size: .93rem; }
th, td { text-align: left; padding: .3rem .6rem; border-bottom: 1px solid var(--line); vertical-align: top; }
td.n, th.n { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
details { background: var(--card); border: 1px solid var(--line); border-radius: 6px; padding: .5rem .8rem;
  margin: .5rem 0; } summary { cursor: pointer; }
pre { white-space: pre-wrap; overflow-wrap: anywhere; font: .85rem/1.45 ui-monospace, monospace; margin: .4rem 0 1rem; }
.grid { display: grid; grid-template-columns: repeat(auto-fill, minmax(320px, 1fr)); gap: 1rem; }
.scroll { overflow-x: auto; } code { font-size: .85rem; }
"""


def write_report(store: Store) -> str:
    """Write report.html into a finished corpus; returns its name there. Raises ValueError for an unfinished one."""
    summary = read_summary(store)
    read = summary.passes[0][0]["documents_in"] if summary.passes[0] else summary.documents
    found = gather(store, read)
    quality = list(quality_sections(store, found.judged))
    title = store.place.rstrip("/").rsplit("/", 1)[-1]
    store.write(REPORT, render(summary, found, title=title, quality=quality).encode())
    return REPORT


def render(summary: Summary, found: Findings, *, title: str, quality: Sequence[str | Any] = ()) -> str:
    """The page; `quality` are parts of it as `quality_sections` makes them."""
    steps = [step for one in summary.passes for step in one if step["documents_in"]]
    figures = [_sankey(steps), *_histograms(found)]
    pictures = [_as_html(figure, first=index == 0) for index, figure in enumerate(figures)]
    read = steps[0] if steps else {"documents_in": summary.documents, "bytes_in": summary.bytes}
    parts = [
        f"<h1>{html.escape(title)}</h1>",
        f'<p class="lead">{read["documents_in"]:,} documents ({_size(read["bytes_in"])}) were read; '
        f"{summary.documents:,} ({_size(summary.bytes)}) are in the corpus.</p>",
        "<h2>Where the documents went</h2>",
        f'<div class="scroll">{pictures[0]}</div>',
        "<h2>Step by step</h2>",
        _steps_table(steps),
        _collections(summary),
        _skipped(summary),
        "<h2>What was measured</h2>",
        f'<div class="grid">{"".join(f"<div>{picture}</div>" for picture in pictures[1:])}</div>',
        *_words(found),
        *(part if isinstance(part, str) else _as_html(part, first=False) for part in quality),
        "<h2>Clusters of duplicates</h2>",
        _clusters(found.clusters),
        "<h2>Samples</h2>",
        '<p class="faint">A few documents for each reason, chosen by their ids, as they came to the pass.</p>',
        *_samples(found.samples),
    ]
    head = (
        f'<meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>{html.escape(title)}</title>'
    )
    body = "\n".join(parts)
    return f"<!doctype html><html><head>{head}<style>{STYLE}</style></head><body>{body}</body></html>\n"


def _sankey(steps: Sequence[Mapping[str, Any]]) -> Any:
    """Each step as a node; what it dropped flows to a node for each reason."""
    from plotly import graph_objects

    labels = ["read"]
    links: list[tuple[int, int, int]] = []
    for index, step in enumerate(steps):
        labels.append(str(step["step"]))
        links.append((index, index + 1, step["documents_in"]))
    labels.append("in the corpus")
    if steps:
        links.append((len(steps), len(steps) + 1, steps[-1]["documents_out"]))
    for index, step in enumerate(steps, start=1):
        for reason, (documents, _) in step["dropped"].items():
            links.append((index, len(labels), documents))
            labels.append(reason)
    sources, targets, values = (list(column) for column in zip(*links, strict=True)) if links else ([], [], [])
    count = len(steps) + 2
    node = {
        "label": labels,
        "pad": 14,
        "thickness": 14,
        "color": ["#3b6ea5"] * count + ["#b4584a"] * (len(labels) - count),
    }
    colors = ["rgba(180,88,74,0.35)" if target >= count else "rgba(59,110,165,0.3)" for target in targets]
    link = {"source": sources, "target": targets, "value": values, "color": colors}
    figure = graph_objects.Figure(graph_objects.Sankey(node=node, link=link, arrangement="snap"))
    return figure.update_layout(height=max(320, 40 * (len(labels) - count) + 120), width=1000, **LAYOUT)


def _histograms(found: Findings) -> Iterator[Any]:
    yield _histogram(
        "bytes of a document",
        found.lengths[0],
        found.lengths[1],
        names=("read", "came through pass 0"),
        second_color="#5b9a72",
    )
    interesting = {key: values for key, values in found.numbers.items() if len({*values[0], *values[1]}) > 2}
    for (step, fact), (kept, dropped) in list(interesting.items())[:MOST_HISTOGRAMS]:
        yield _histogram(f"{step}: {fact}", kept, dropped, names=("went on", "dropped"))


def _histogram(
    title: str,
    first: Sequence[float],
    second: Sequence[float],
    *,
    names: tuple[str, str],
    second_color: str = "#b4584a",
) -> Any:
    import numpy as np
    from plotly import graph_objects

    values = np.array([*first, *second], dtype=float)
    wide = bool(len(values)) and values.min() > 0 and values.max() / values.min() > 100
    scaled = np.log10(values) if wide else values
    edges = np.histogram_bin_edges(scaled, bins=40) if len(values) else np.array([0.0, 1.0])
    shown = 10**edges if wide else edges
    figure = graph_objects.Figure()
    for part, name, color in ((first, names[0], "#3b6ea5"), (second, names[1], second_color)):
        data = np.log10(np.array(part, dtype=float)) if wide and len(part) else np.array(part, dtype=float)
        counts, _ = np.histogram(data, bins=edges)
        places = (shown[:-1] + shown[1:]) / 2
        figure.add_bar(x=places, y=counts, width=np.diff(shown), name=name, marker_color=color, opacity=0.75)
    figure.update_layout(title=title, barmode="overlay", height=260, legend={"orientation": "h", "y": -0.2}, **LAYOUT)
    return figure.update_xaxes(type="log" if wide else "linear")


def _as_html(figure: Any, *, first: bool) -> str:
    text: str = figure.to_html(
        full_html=False, include_plotlyjs=first, config={"displayModeBar": False, "responsive": True}
    )
    return text


def _steps_table(steps: Sequence[Mapping[str, Any]]) -> str:
    rows = []
    for step in steps:
        lost = step["documents_in"] - step["documents_out"]
        reasons = [
            f"{documents:,} {verb}: {html.escape(reason)} ({_size(size)})"
            for verb, counts in (("dropped", step["dropped"]), ("changed", step["changed"]))
            for reason, (documents, size) in sorted(counts.items(), key=lambda item: -item[1][0])
        ]
        rows.append(
            f'<tr><td>{html.escape(step["step"])}</td><td class="n">{step["documents_in"]:,}</td>'
            f'<td class="n">{lost:,}</td><td class="n">{_size(step["bytes_in"] - step["bytes_out"])}</td>'
            f"<td>{'<br>'.join(reasons) or '–'}</td></tr>"
        )
    numbers = "".join(f'<th class="n">{name}</th>' for name in ("documents in", "fewer", "text less"))
    head = f"<tr><th>step</th>{numbers}<th>why</th></tr>"
    return f'<div class="scroll"><table>{head}{"".join(rows)}</table></div>'


def _collections(summary: Summary) -> str:
    rows = "".join(
        f'<tr><td>{html.escape(name)}</td><td class="n">{documents:,}</td><td class="n">{_size(size)}</td></tr>'
        for name, (documents, size) in summary.collections.items()
    )
    head = '<tr><th>collection</th><th class="n">documents</th><th class="n">text</th></tr>'
    return f"<h2>Collections in the corpus</h2><table>{head}{rows}</table>"


def _skipped(summary: Summary) -> str:
    if not summary.skipped:
        return ""
    rows = "".join(f'<tr><td>{html.escape(r)}</td><td class="n">{n:,}</td></tr>' for r, n in summary.skipped.items())
    return f'<h2>What could not be read</h2><table><tr><th>reason</th><th class="n">count</th></tr>{rows}</table>'


def _words(found: Findings) -> Iterator[str]:
    for (step, fact), counts in found.words.items():
        common = ", ".join(f"{html.escape(word)} {count:,}" for word, count in counts.most_common(12))
        yield f"<p><b>{html.escape(step)}: {html.escape(fact)}</b> {common}</p>"


def _clusters(clusters: Sequence[Cluster]) -> str:
    if not clusters:
        return '<p class="faint">There were none.</p>'
    rows = "".join(
        f'<tr><td class="n">{cluster.size:,}</td><td><code>{cluster.id}</code></td>'
        f"<td>{'<br>'.join(map(html.escape, cluster.sources))}</td></tr>"
        for cluster in clusters
    )
    head = '<tr><th class="n">dropped</th><th>kept</th><th>some that were dropped</th></tr>'
    return f'<div class="scroll"><table>{head}{rows}</table></div>'


def _samples(samples: Mapping[tuple[str, str, str], Sequence[Sample]]) -> Iterator[str]:
    for (outcome, step, reason), found in sorted(samples.items()):
        label = f"{outcome} by {step}: {reason}" if step else "came through"
        texts = "".join(
            f'<div class="faint"><code>{sample.id}</code> {html.escape(sample.source)} '
            f"{html.escape(_facts(sample.facts))}</div><pre>{html.escape(sample.text)}</pre>"
            for sample in found
        )
        yield f"<details><summary>{html.escape(label)}</summary>{texts}</details>"


def _facts(facts: Mapping[str, Any]) -> str:
    return ", ".join(
        f"{name} {value:.3g}" if isinstance(value, float) else f"{name} {value}" for name, value in facts.items()
    )


def _size(size: float) -> str:
    for unit, amount in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if abs(size) >= amount:
            return f"{size / amount:,.1f} {unit}"
    return f"{size:,.0f} B"
