"""The classifier's file: weights and settings as plain arrays and JSON, nothing that runs code."""

from __future__ import annotations

import json
import unicodedata
import zipfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

FILE = "model.npz"
FORMAT = "ensue quality 1"


@dataclass(frozen=True)
class QualityModel:
    """A logistic regression over hashed tokens.

    weights   (features,) float32, by bucket; features is a power of two
    bias      added to the product
    passage   tokens that are scored together; a longer document's logit is the mean over its passages
    settings  what it was trained with, as JSON values
    """

    weights: np.ndarray = field(repr=False)
    bias: float
    passage: int
    settings: dict[str, Any]

    def save(self, path: Path) -> None:
        """Write one npz file: the buckets that have a weight, the weights, the bias, and the settings as JSON.

        Equal models give equal bytes.
        """
        buckets = np.flatnonzero(self.weights).astype(np.int32)
        said = {
            "format": FORMAT,
            "features": len(self.weights),
            "passage": self.passage,
            "unicode": unicodedata.unidata_version,
            "settings": self.settings,
        }
        text = np.frombuffer(json.dumps(said, sort_keys=True, ensure_ascii=False).encode(), np.uint8)
        with path.open("wb") as file:
            np.savez(file, bias=np.array([self.bias]), buckets=buckets, said=text, weights=self.weights[buckets])

    @classmethod
    def load(cls, path: Path) -> QualityModel:
        """Read what `save` wrote. Raises FileNotFoundError, and ValueError for any other file."""
        try:
            with np.load(path, allow_pickle=False) as arrays:
                said = json.loads(arrays["said"].tobytes())
                weights = np.zeros(int(said["features"]), np.float32)
                weights[arrays["buckets"]] = arrays["weights"]
                bias = float(arrays["bias"][0])
        except (ValueError, KeyError, IndexError, TypeError, EOFError, zipfile.BadZipFile) as error:
            raise ValueError(f"{path} is not a quality model, or damaged ({error}); train it again.") from error
        if said.get("format") != FORMAT:
            raise ValueError(f"{path} is a quality model of another format ({said.get('format')!r}); train it again.")
        return cls(weights, bias, int(said["passage"]), dict(said["settings"]))
