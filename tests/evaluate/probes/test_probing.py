"""A small model probed from the beginning to its report."""

import json
from pathlib import Path

import pytest

from ensue.recipes.display import Display
from ensue.recipes.evaluating.models import open_scorer
from ensue.recipes.evaluating.probing import probe


def test_a_report_and_a_picture(small_model: Path, tmp_path: Path) -> None:
    rows = [
        {"text": f"The nurse told the patient that {word} would be late.", "occupation": "nurse"}
        | {"participant": "patient", "answer": "occupation", "gender": gender, "pct_female_bls": "89.6"}
        for word, gender in (("he", "male"), ("she", "female"), ("they", "neutral"))
    ]
    (tmp_path / "winogender.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    scorer = open_scorer(str(small_model))

    def report(out: str) -> str:
        probe(scorer, "small", tmp_path / out, data=tmp_path, samples=2, seed=4, display=Display(to_stderr=True))
        return (tmp_path / out / "probes.md").read_text()

    text = report("a")
    assert "not a measure of harm" in text
    assert "| female | 1 |" in text
    told = json.loads((tmp_path / "a" / "probes.json").read_text())
    assert len(told["occupations"][0]["leans"]) > 80
    assert set(told["groups"]) == {"gender", "race", "religion"}
    assert (tmp_path / "a" / "occupations.png").stat().st_size > 1000
    assert report("b") == text  # the same seed
    with pytest.raises(ValueError, match="already exists"):
        report("a")


def test_without_winogender_pronouns_are_left_out(small_model: Path, tmp_path: Path, capsys) -> None:
    scorer = open_scorer(str(small_model))
    probe(scorer, "small", tmp_path / "out", data=tmp_path, samples=1, seed=0, display=Display())
    assert "pronouns are left out" in capsys.readouterr().out
    assert "Winogender" not in (tmp_path / "out" / "probes.md").read_text()
    with pytest.raises(ValueError, match="--samples 0"):
        probe(scorer, "small", tmp_path / "x", data=tmp_path, samples=0, seed=0, display=Display())
