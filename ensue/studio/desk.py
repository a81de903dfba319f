"""What one browser tab has on its desk; it stays through reloads and from page to page, as long as the studio runs."""

from __future__ import annotations

from dataclasses import dataclass, field

from nicegui import app

from ensue.studio.sheet import Sheet, WriteSettings

KEY = "ensue-desk"


@dataclass
class Desk:
    """The texts and settings of a tab: `paths` are the models chosen for the two `sheets`, and `looked_at` tells which
    of the two is looked inside of."""

    prompt: str = ""
    settings: WriteSettings = field(default_factory=WriteSettings)
    beside: bool = False
    looked_at: int = 0
    paths: list[str] = field(default_factory=lambda: ["", ""])
    sheets: tuple[Sheet, Sheet] = field(default_factory=lambda: (Sheet(), Sheet()))


def desk_of_this_tab() -> Desk:
    """The desk of the tab whose page is being built; it must be connected."""
    kept = app.storage.tab
    if not isinstance(kept.get(KEY), Desk):
        kept[KEY] = Desk()
    desk = kept[KEY]
    assert isinstance(desk, Desk)
    return desk
