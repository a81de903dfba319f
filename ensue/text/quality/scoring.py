"""Texts to scores in bulk, and to the buckets that a classifier is trained on, through the compiled kernel."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from ensue.text.quality.tokens import character_table, token_values

if TYPE_CHECKING:
    from ensue.text.quality.model import QualityModel

AT_ONCE = 8 << 20
"""Bytes of text scored in one call; one document may be longer."""


LOOKED_AT = 4_000_000
"""Characters from a text's beginning that are looked at: all of nearly any text, and in bounded memory."""


class Scorer:
    """A model ready to score. Holds about 3 MB of scratch memory; one for each thread."""

    def __init__(self, model: QualityModel) -> None:
        """Raises ValueError if numba is not installed."""
        self._kernel = load_kernel()
        self._model, self._table = model, character_table()
        self._values = token_values(model.passage)
        self._counts = np.zeros(len(model.weights), np.int16)
        self._buckets = np.zeros(1 << 16, np.int32)

    def score(self, text: str) -> float:
        """How much a text looks like the reference, from 0 to 1."""
        return float(self.scores([text])[0])

    def scores(self, texts: Sequence[str]) -> np.ndarray:
        """The score of each text. (texts,) float64."""
        logits = np.empty(len(texts))
        encoded: list[bytes] = []
        first = held = 0
        for place, text in enumerate(texts):
            encoded.append(text[:LOOKED_AT].encode("utf-8", "surrogatepass"))
            held += len(encoded[-1])
            if held >= AT_ONCE or place == len(texts) - 1:
                self._score(encoded, logits[first : place + 1])
                encoded, first, held = [], place + 1, 0
        return np.asarray(1 / (1 + np.exp(-logits)))

    def _score(self, encoded: Sequence[bytes], logits: np.ndarray) -> None:
        data = np.frombuffer(b"".join(encoded), np.uint8)
        lengths = np.fromiter(map(len, encoded), np.int64, len(encoded))
        if len(self._buckets) < lengths.max():
            self._buckets = np.zeros(int(lengths.max()), np.int32)
        model = self._model
        self._kernel.score_documents(
            data,
            np.cumsum(lengths),
            self._table,
            model.passage,
            model.weights,
            model.bias,
            self._values,
            self._counts,
            self._buckets,
            logits,
        )


def buckets_of(text: str, features: int) -> np.ndarray:
    """The bucket of each token of a text, of its first `LOOKED_AT` characters, in order. (tokens,) int32."""
    data = np.frombuffer(text[:LOOKED_AT].encode("utf-8", "surrogatepass"), np.uint8)
    buckets = np.empty(len(data), np.int32)
    count = load_kernel().token_buckets(data, 0, len(data), character_table(), features, buckets)
    return buckets[:count]


class _Kernel:
    """The compiled functions, imported at their first use."""

    def __init__(self) -> None:
        from ensue.text.quality import kernel

        self.token_buckets = kernel.token_buckets
        self.score_documents = kernel.score_documents


def load_kernel() -> _Kernel:
    """The compiled functions. Raises ValueError if numba is not installed."""
    try:
        return _Kernel()
    except ImportError as error:
        raise ValueError("The quality filter needs numba; type: pip install 'ensue[corpus]'") from error
