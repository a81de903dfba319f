"""py3langid's model, unpacked once on a machine, and what it says of a text, its slow part compiled.

The library unpacks 68 MB at every start and holds them in each process. Here they lie unpacked in the user's cache and
are memory-mapped, so that all processes share the few of them that are used. Nothing that others do to py3langid
changes what is said.
"""

from __future__ import annotations

import hashlib
import math
import unicodedata
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from ensue.core.files import cache_folder, folder_aside

ARRAYS = ("weights", "prior", "languages", "moves", "rows", "features")


@dataclass(frozen=True)
class LanguageModel:
    """A naive Bayes model over byte sequences that an automaton finds (Lui and Baldwin 2011 and 2012).

    weights    (features, languages) float32;  prior  (languages,) float32
    languages  a code for each column; one that is there twice is one language in two scripts
    moves      the automaton's next state, by 256 times the state's row and the byte;  rows  by state
    features   what is found where a state is entered, -1 for nothing; int32
    """

    weights: np.ndarray = field(repr=False)
    prior: np.ndarray = field(repr=False)
    languages: np.ndarray
    moves: np.ndarray = field(repr=False)
    rows: np.ndarray = field(repr=False)
    features: np.ndarray = field(repr=False)


class Identifier:
    """Tells a text's most probable language, and how probable it is among those it knows."""

    def __init__(self, model: LanguageModel) -> None:
        from ensue.text.filters.language_kernel import find_features

        self._model, self._find = model, find_features
        self._codes: list[str] = model.languages.tolist()
        self._again = [
            (self._codes.index(code), column)
            for column, code in enumerate(self._codes)
            if self._codes.index(code) < column
        ]
        self._counts = np.zeros(len(model.weights), np.int32)

    @property
    def languages(self) -> frozenset[str]:
        """The codes it knows."""
        return frozenset(self._codes)

    def identify(self, text: str) -> tuple[str, float]:
        """The most probable language and its probability, as `LanguageIdentifier.classify` of py3langid gives them."""
        data = unicodedata.normalize("NFC", text.lower() if text.isupper() else text).encode("utf-8", "surrogatepass")
        scores = self._scores(data)
        # Longer texts would be certain beyond reason.
        scores *= 1.0 / math.sqrt(len(data) or 1)
        np.exp(scores - scores.max(), out=scores)
        scores /= scores.sum()
        for first, second in self._again:
            scores[first] += scores[second]
            scores[second] = 0.0
        best = int(scores.argmax())
        return self._codes[best], float(scores[best])

    def _scores(self, data: bytes) -> np.ndarray:
        """The log-probability of each column, up to a constant; all the same if nothing is found."""
        model = self._model
        found = np.empty(len(data), np.int32)
        automaton = (model.moves, model.rows, model.features)
        found = found[: self._find(np.frombuffer(data, np.uint8), automaton, self._counts, found)]
        if not len(found):
            return np.zeros(len(self._codes), np.float32)
        counts = self._counts[found].astype(np.float32)
        self._counts[found] = 0
        scores: np.ndarray = np.log1p(counts) @ model.weights[found] + model.prior
        return scores


def load_language_model() -> LanguageModel:
    """The model that comes with py3langid. Raises ValueError if that is not installed."""
    try:
        from py3langid import langid
    except ImportError as error:
        raise ValueError("Language needs py3langid; type: pip install 'ensue[corpus]'") from error
    packed = Path(langid.MODEL_DIR / langid.MODEL_FILE)
    folder = cache_folder() / f"language-{hashlib.blake2b(packed.read_bytes(), digest_size=8).hexdigest()}"
    try:
        return _mapped(folder)
    except (OSError, ValueError):
        model = _unpacked(packed)
    try:
        with folder_aside(folder) as aside:
            for name in ARRAYS:
                np.save(aside / f"{name}.npy", getattr(model, name), allow_pickle=False)
        return _mapped(folder)
    except OSError:  # no room, or no place to write to
        return model


def _unpacked(packed: Path) -> LanguageModel:
    from py3langid.modelio import load_model

    weights, prior, languages, moves, rows, features = load_model(packed)
    return LanguageModel(
        np.asarray(weights, np.float32),  # half as large in the file, and four times as slow
        np.asarray(prior),
        np.array(languages),
        np.asarray(moves),
        np.asarray(rows),
        np.array(features, np.int32),
    )


def _mapped(folder: Path) -> LanguageModel:
    return LanguageModel(*(np.asarray(np.load(folder / f"{name}.npy", mmap_mode="r")) for name in ARRAYS))
