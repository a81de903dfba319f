"""What the pictures of a corpus' page have in common."""

from __future__ import annotations

from typing import Any

LAYOUT: dict[str, Any] = {
    "margin": {"l": 10, "r": 10, "t": 30, "b": 30},
    "paper_bgcolor": "rgba(0,0,0,0)",
    "plot_bgcolor": "rgba(0,0,0,0)",
    "font": {"color": "#808792", "size": 12},
}
