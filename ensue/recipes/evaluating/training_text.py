"""The documents that a model was trained on, as they can be read back: of a run, of prepared data, or of plain text."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from ensue.recipes.corpora.calibration import documents_of
from ensue.recipes.data import Data, is_data
from ensue.recipes.seen import RunReading, TokenPlace, reading_of
from ensue.text.document import Document


@dataclass
class TrainingText:
    """Documents to look for shared words in. Of a run, `reading` knows which of its steps read what.

    Where there are shards, the documents are what their tokens spell, so that nothing held out is among them.
    """

    path: Path
    data: Data | None = None
    reading: RunReading | None = None
    _spans: dict[str, tuple[int, int, int]] = field(default_factory=dict)

    @property
    def count(self) -> int:
        """How many documents there are; 1 where they are not counted before they are read."""
        return 1 if self.data is None else sum(part.train.count for part in self.data.parts)

    def documents(self) -> Iterator[Document]:
        """All of them, once."""
        if self.data is None:
            yield from documents_of(self.path)
            return
        for number, part in enumerate(self.data.parts):
            shard = part.train
            for span in shard.spans(range(shard.count)):
                self._spans.setdefault(span.id, (number, span.start, span.stop))
                yield Document(id=span.id, text=self._text(number, span.start, span.stop), source=span.source)

    def steps(self, document: str, place: int) -> list[int] | None:
        """The steps, counted from 1, that read what stands at character `place` of a document; None without a run."""
        if self.reading is None or self.data is None:
            return None
        part, start, stop = self._spans[document]
        token = start + len(self.data.tokenizer.encode(self._text(part, start, stop)[:place]))
        return self.reading.steps_that_read(TokenPlace(part, min(token, stop - 1)))

    def _text(self, part: int, start: int, stop: int) -> str:
        assert self.data is not None
        return self.data.tokenizer.decode(self.data.parts[part].train.tokens[start : stop - 1].tolist())


def training_text(path: Path) -> TrainingText:
    """What `path` names: a run, a folder of prepared data, a curated corpus, or files and folders of text.

    Raises FileNotFoundError where there is nothing.
    """
    if not path.exists():
        raise FileNotFoundError(f"there is no {path}; give a run, a corpus, prepared data, or files of text.")
    if (path / "receipts.jsonl").is_file() or (path / "checkpoints").is_dir():
        reading = reading_of(path)
        return TrainingText(path, reading.data, reading)
    return TrainingText(path, Data(path) if is_data(path) else None)
