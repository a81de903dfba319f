"""Calibration measures what the theory promises, in scripts with and without spaces, and can be drawn."""

import random

import pytest

from ensue.text.document import Document
from ensue.text.duplicates.calibrate import calibrate
from ensue.text.duplicates.calibration_picture import draw_calibration
from ensue.text.duplicates.near import NearDuplicates

pytest.importorskip("numba", reason="near-duplicates need the extra 'corpus'")


def english(count):
    rng = random.Random(0)
    return [Document.of(" ".join(f"w{rng.randrange(4000)}" for _ in range(150)), str(n)) for n in range(count)]


def chinese(count):
    rng = random.Random(0)
    return [Document.of("".join(chr(0x4E00 + rng.randrange(3000)) for _ in range(200)), str(n)) for n in range(count)]


@pytest.mark.parametrize("texts", [english, chinese])
def test_recall_follows_the_curve(texts):
    found = calibrate(texts(200))
    assert found.documents == 200
    assert found.planted == 2200
    assert found.natural == 0
    assert found.recall > 0.93
    assert sum(bin.pairs for bin in found.bins) == found.planted
    for bin in found.bins:
        assert bin.low <= bin.mean <= bin.high
        assert abs(bin.found - bin.expected) <= 6 * (bin.expected + 1) ** 0.5
    assert found.dropped > 0.9 * found.wanted


def test_other_settings_sample_and_seed():
    step = NearDuplicates(bands=4, rows=8)
    few = calibrate(english(100), step, sample=50, changes=(0.01, 0.03), cuts=())
    assert (few.documents, few.planted) == (50, 100)
    assert calibrate(english(100), step, sample=50, changes=(0.01, 0.03), cuts=()) == few
    assert calibrate(english(100), step, sample=50, changes=(0.01, 0.03), cuts=(), seed=1) != few


def test_tiny_documents_and_none():
    assert calibrate([Document.of("word", "1"), Document.of("字", "2")]).documents == 2
    with pytest.raises(ValueError, match="nothing to calibrate"):
        calibrate([Document.of(" ", "blank")])


def test_picture(tmp_path):
    target = tmp_path / "pictures" / "calibration.png"
    draw_calibration(calibrate(english(40)), target)
    assert target.read_bytes().startswith(b"\x89PNG")
