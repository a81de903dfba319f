"""What a run wrote as it trained: samples/<step>.txt."""

from __future__ import annotations

from pathlib import Path

MOST_CHARACTERS = 20_000


def sample_steps(run: Path) -> list[str]:
    """The names of a run's samples: steps in order, and then `final` where there is one."""
    try:
        names = [path.stem for path in (run / "samples").iterdir() if path.suffix == ".txt"]
    except OSError:
        return []
    return sorted(names, key=lambda name: (not name.isdecimal(), int(name) if name.isdecimal() else 0, name))


def read_sample(run: Path, name: str) -> list[str]:
    """The texts of one sample. Raises FileNotFoundError for one that is not there (any more)."""
    if name not in sample_steps(run):
        raise FileNotFoundError(f"{run / 'samples' / name}.txt")
    text = (run / "samples" / f"{name}.txt").read_text(encoding="utf-8", errors="replace")[:MOST_CHARACTERS]
    return [piece.strip("\n") for piece in text.split("\n\n---\n\n")]
