"""What was left out of the text and why, counted by reason."""

from __future__ import annotations

import json
from pathlib import Path

EXAMPLES_KEPT = 5


class SkipReport:
    """Counts whatever was skipped, by reason, and keeps a few examples of each; nothing is dropped without a trace.

    With `file`, every skip is also appended there as one JSON object a line: {"source", "reason", "detail"}.
    """

    def __init__(self, file: Path | None = None) -> None:
        self._file = file
        self._counts: dict[str, int] = {}
        self._examples: dict[str, list[tuple[str, str]]] = {}

    def add(self, source: str, reason: str, detail: str = "") -> None:
        """Record that `source` was skipped.

        `reason` is a fixed phrase, so that equal reasons count together; what differs between them goes into `detail`.
        """
        self._counts[reason] = self._counts.get(reason, 0) + 1
        examples = self._examples.setdefault(reason, [])
        if len(examples) < EXAMPLES_KEPT:
            examples.append((source, detail))
        if self._file is not None:
            # Opened each time: the record is complete even if the process is killed at the next line.
            with self._file.open("a", encoding="utf-8") as file:
                file.write(json.dumps({"source": source, "reason": reason, "detail": detail}) + "\n")

    @property
    def count(self) -> int:
        """How many things were skipped."""
        return sum(self._counts.values())

    def reasons(self) -> dict[str, int]:
        """The count of each reason, most frequent first."""
        return dict(sorted(self._counts.items(), key=lambda item: (-item[1], item[0])))

    def examples(self, reason: str) -> list[str]:
        """The first few sources that were skipped for `reason`."""
        return [source for source, _ in self._examples.get(reason, [])]

    def summary(self) -> str:
        """Readable lines: each reason with its count and its first examples; empty if nothing was skipped."""
        lines = []
        for reason, count in self.reasons().items():
            lines.append(f"skipped {count:,}: {reason}")
            for source, detail in self._examples[reason]:
                lines.append(f"    {source}" + (f" ({detail})" if detail else ""))
            if count > EXAMPLES_KEPT:
                lines.append(f"    and {count - EXAMPLES_KEPT:,} more")
        return "\n".join(lines)
