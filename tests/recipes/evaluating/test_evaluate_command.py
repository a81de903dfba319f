"""`ensue evaluate` and `ensue compare`, from what is typed to the folders they leave."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from ensue.model.gpt import GPT
from ensue.model.presets import gpt2
from ensue.model.weights import save_model
from ensue.tokens.byte_level import train_byte_level
from ensue.verbs.evaluating import Compare, Evaluate

TEXT = "the fox ran to the old wood and sang a song of rain while a crow slept 狐狸 in the dark"
WORDS = TEXT.split()
MY_TASKS = """
from dataclasses import dataclass
from ensue.evaluate.metrics import accuracy
from ensue.evaluate.task import Choices, Files, Metric, Option, Task


@dataclass(frozen=True)
class Ends:
    first: str


def item(row):
    return Choices(tuple(Option(row["start"], " " + end) for end in row["ends"]), int(row["right"]))


def margin(item, outcome):
    return [outcome.scores[0].nats, outcome.scores[1].nats]


def one_class(values):
    raise ValueError("there is only one class")


OWN = Task(
    name="own",
    about="my own endings",
    files=Files("own_test", "own_train", columns=("start", "ends", "right"), origin="my own hands"),
    item=item,
    metrics=(
        accuracy("token"),
        Metric("spread", margin, total=lambda values: sum(a - b for a, b in values), higher_is_better=False),
        Metric("matthews", margin, total=one_class),
    ),
)
TASKS = (OWN,)
"""


def build_model(folder: Path, seed: int) -> Path:
    tokenizer = train_byte_level(iter([" ".join(WORDS), "The end."] * 3), vocab_size=300)
    model = GPT.build(gpt2(layers=2, width=24, heads=3, context=128, vocab=300), seed)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator) * 0.2)
    folder.mkdir(parents=True)
    save_model(model.eval(), folder, end_token=tokenizer.end)
    tokenizer.save(folder)
    return folder


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two models, a data folder and a file of tasks."""
    place = tmp_path_factory.mktemp("evaluating")
    for seed, name in enumerate(("a", "b")):
        build_model(place / name, seed)
    (place / "data").mkdir()
    for name, count in (("own_test", 40), ("own_train", 12)):
        rows = [
            {
                "id": f"{name}-{i}",
                "start": f"{WORDS[i % 9]} {WORDS[i % 7]} {i}",
                "ends": [WORDS[i % 5 + 3], WORDS[i % 6 + 9]],
                "right": i % 2,
            }
            for i in range(count)
        ]
        (place / "data" / f"{name}.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    (place / "my_tasks.py").write_text(MY_TASKS, encoding="utf-8")
    return place


@pytest.fixture
def ask(place: Path) -> Evaluate:
    return Evaluate(str(place / "a"), tasks=str(place / "my_tasks.py"), data=place / "data", device="cpu")


def results(folder: Path) -> Any:
    return json.loads((folder / "results.json").read_text(encoding="utf-8"))


def test_what_an_evaluation_leaves(
    ask: Evaluate, place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    replace(ask, shots="0,1,3", out=out).start()
    said = capsys.readouterr()
    assert f"running {place / 'my_tasks.py'} for its tasks" in said.err
    assert "accuracy" in said.out
    assert {path.name for path in out.iterdir()} >= {"results.json", "table.md", "curve.png", "settings.json", "items"}
    told = results(out)
    assert [(each["task"], each["shots"]) for each in told["results"]] == [("own", 0), ("own", 1), ("own", 3)]
    assert len(told["model"]["weights"]) == len(told["model"]["tokenizer"]) == 64
    assert {"definition", "test", "train"} == set(told["tasks"]["own"]["digests"])
    assert told["environment"]["versions"]["torch"] == str(torch.__version__)
    for each in told["results"]:
        items = [json.loads(line) for line in (out / "items" / f"own-{each['shots']}.jsonl").read_text().splitlines()]
        assert len(items) == each["items"] == 40
        assert [item["id"] for item in items] == [f"own_test-{row}" for row in range(40)]
        accuracy = each["metrics"]["accuracy"]
        right = [item["values"]["accuracy"] for item in items]
        assert accuracy["value"] == pytest.approx(sum(right) / 40)
        assert accuracy["low"] < accuracy["value"] < accuracy["high"]
        assert each["metrics"]["matthews"]["value"] is None
        assert each["metrics"]["matthews"]["reason"] == "there is only one class"
        assert each["chance"] == 0.5
        assert (each["truncated"], each["fewer_shots"]) == (0, 0)
    table = (out / "table.md").read_text(encoding="utf-8")
    assert "| own | 3 | accuracy |" in table
    assert "there is only one class" in table


def test_the_same_command_again_asks_nothing(
    ask: Evaluate, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    replace(ask, shots="2", out=out, json=True).start()
    first = json.loads(capsys.readouterr().out)
    monkeypatch.setattr(GPT, "hidden", None)
    replace(ask, shots="2", out=out, json=True).start()
    assert json.loads(capsys.readouterr().out) == first == results(out)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"seed": 1}, "seed was 0 and is 1"),
        ({"shots": "0,1"}, r"shots was \[0\] and is \[0, 1\]"),
        ({"limit": 3}, "limit was null and is 3"),
        ({"dtype": "bf16"}, r"model \(precision\) is not the same"),
    ],
)
def test_a_folder_of_another_evaluation_is_refused(
    ask: Evaluate, tmp_path: Path, change: dict[str, Any], said: str
) -> None:
    out = tmp_path / "out"
    replace(ask, out=out).start()
    with pytest.raises(ValueError, match=f"{out} holds another evaluation: .*{said}.*--out"):
        replace(ask, out=out, **change).start()


def test_other_models_tasks_and_folders_are_refused(ask: Evaluate, place: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    replace(ask, out=out).start()
    with pytest.raises(ValueError, match=r"model \(weights\) is not the same"):
        replace(ask, model=str(place / "b"), out=out).start()
    changed = tmp_path / "my_tasks.py"
    changed.write_text(MY_TASKS.replace('" " + end', '"  " + end'), encoding="utf-8")
    with pytest.raises(ValueError, match=r"tasks \(own\) is not the same"):
        replace(ask, tasks=str(changed), out=out).start()
    with pytest.raises(ValueError, match="holds no evaluation; give --out a new name"):
        replace(ask, out=place / "data").start()


def test_bad_input_is_said_in_words(ask: Evaluate, place: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="there is no task 'rocstorys'; did you mean 'rocstories'"):
        replace(ask, tasks="rocstorys").start()
    with pytest.raises(ValueError, match="--shots 0,x should be numbers"):
        replace(ask, shots="0,x").start()
    with pytest.raises(ValueError, match="own is asked for twice"):
        replace(ask, tasks=f"{place / 'my_tasks.py'},{place / 'my_tasks.py'}:own").start()
    with pytest.raises(ValueError, match="say what to measure: --tasks"):
        replace(ask, tasks="").start()
    with pytest.raises(FileNotFoundError, match="there is no file"):
        replace(ask, tasks=str(tmp_path / "none.py")).start()
    (tmp_path / "broken.py").write_text("TASKS = 1 / 0", encoding="utf-8")
    with pytest.raises(ValueError, match=r"broken.py failed: ZeroDivisionError"):
        replace(ask, tasks=str(tmp_path / "broken.py")).start()
    (tmp_path / "none.py").write_text("TASKS = []", encoding="utf-8")
    with pytest.raises(ValueError, match="should say which tasks it has"):
        replace(ask, tasks=str(tmp_path / "none.py")).start()


def test_more_shots_than_fit_and_fewer_rows_than_shots(ask: Evaluate, tmp_path: Path) -> None:
    replace(ask, shots="11,12,13", out=tmp_path / "out", limit=5).start()
    told = results(tmp_path / "out")["results"]
    assert told[2]["fewer_shots"] == 5  # of 12 rows
    assert told[2]["examples"] <= 12
    assert (tmp_path / "out" / "curve.png").stat().st_size > 1000


def test_killed_and_gone_on_with(ask: Evaluate, place: Path, tmp_path: Path) -> None:
    """A process that is killed in the middle leaves whole items, and the same command ends as if it had not been."""
    replace(ask, shots="1,4", out=tmp_path / "whole").start()
    out, items = tmp_path / "out", tmp_path / "out" / "items" / "own-1.jsonl"
    code = (
        "import sys, time\nfrom dataclasses import replace\nfrom pathlib import Path\n"
        "from ensue.evaluate.local import LocalScorer\n"
        "import ensue.recipes.evaluating.models as models\n"
        "from ensue.verbs.evaluating import Evaluate\n"
        "class Slow(LocalScorer):\n"
        "    def loglikelihood(self, *given):\n"
        "        time.sleep(0.3)\n"
        "        return super().loglikelihood(*given)\n"
        "def slow(model, **given):\n"
        "    return Slow(models.load(model, device='cpu'), at_once=3)\n"
        "models.open_scorer = slow\n"
        "model, tasks, data, out = sys.argv[1:]\n"
        "Evaluate(model, tasks=tasks, shots='1,4', data=Path(data), out=Path(out)).start()\n"
    )
    arguments = [sys.executable, "-c", code, str(place / "a"), ask.tasks, str(place / "data"), str(out)]
    with subprocess.Popen(arguments, stderr=subprocess.DEVNULL, env={**os.environ, "OMP_NUM_THREADS": "1"}) as process:
        while process.poll() is None and not (items.exists() and items.read_bytes().count(b"\n") >= 6):
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
    before = items.read_bytes()
    assert 6 <= before.count(b"\n") < 40
    assert not (out / "results.json").exists()
    with pytest.raises(ValueError, match="is not finished"):
        Compare(str(out), str(tmp_path / "whole")).start()
    replace(ask, shots="1,4", out=out).start()
    assert items.read_bytes().startswith(before[: before.rindex(b"\n")])
    for mine, theirs in zip(results(out)["results"], results(tmp_path / "whole")["results"], strict=True):
        assert mine["metrics"]["accuracy"] == theirs["metrics"]["accuracy"]


def test_two_models_compared(
    ask: Evaluate, place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    compare = Compare(
        str(place / "a"), str(place / "b"), tasks=ask.tasks, shots="0,2", data=place / "data", device="cpu", json=True
    )
    compare.start()
    told = json.loads(capsys.readouterr().out)
    one, two = sorted((tmp_path / "evaluations").iterdir())
    [folder] = (tmp_path / "comparisons").iterdir()
    for each in told["results"]:
        shots = each["shots"]
        sides = [
            [json.loads(line) for line in (side / "items" / f"own-{shots}.jsonl").read_text().splitlines()]
            for side in (one, two)
        ]
        right = [[item["values"]["accuracy"] for item in side] for side in sides]
        wins = sum(b > a for a, b in zip(*right, strict=True))
        losses = sum(b < a for a, b in zip(*right, strict=True))
        metric = each["metrics"]["accuracy"]
        assert (metric["wins"], metric["losses"]) == (wins, losses)
        assert metric["difference"] == pytest.approx((wins - losses) / 40)
        assert 0 < metric["p"] <= 1
        assert each["metrics"]["spread"]["low"] is not None
        assert each["metrics"]["matthews"]["reason"] == "there is only one class"
        flips = [json.loads(line) for line in (folder / "flips" / f"own-{shots}.jsonl").read_text().splitlines()]
        assert len(flips) == wins + losses == each["flips"]["items"]
        assert all(flip["first"]["before"] == flip["second"]["before"] for flip in flips)
        assert all(flip["first"]["values"]["accuracy"] != flip["second"]["values"]["accuracy"] for flip in flips)

    Compare(str(one), str(two), json=True, out=tmp_path / "again").start()  # of folders, without the tasks' file
    again = json.loads(capsys.readouterr().out)["results"]
    for each, same in zip(told["results"], again, strict=True):
        assert each["metrics"]["accuracy"] == same["metrics"]["accuracy"]
        assert same["metrics"]["spread"]["difference"] is None
        assert "give its file with --tasks" in same["metrics"]["spread"]["reason"]
    Compare(str(one), str(two), tasks=ask.tasks, out=tmp_path / "again").start()
    assert "own, 0 shots: no" in capsys.readouterr().err
    with pytest.raises(ValueError, match="were not both measured on rocstories"):
        Compare(str(one), str(two), tasks="rocstories").start()
    with pytest.raises(ValueError, match="say what to measure it on"):
        Compare(str(place / "a"), str(two)).start()
    replace(ask, limit=7, out=tmp_path / "few").start()
    with pytest.raises(ValueError, match="hold different items"):
        Compare(str(tmp_path / "few"), str(two), out=tmp_path / "c").start()


def test_the_list(ask: Evaluate, place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    replace(ask, model=None, tasks="", list=True).start()
    said = capsys.readouterr().out
    assert "rocstories" in said
    assert "missing" in said
    replace(ask, model=None, tasks="rocstories,piqa", list=True).start()
    said = capsys.readouterr().out
    assert "asked of   rocstories_test (not in " in said
    assert "from the same rows; 50 in its paper" in said
    replace(ask, model=None, list=True, json=True).start()
    [own] = json.loads(capsys.readouterr().out)
    assert (own["test_there"], own["train_there"], own["about"]) == (True, True, "my own endings")


def test_stories_as_they_are(place: Path, shared_data: Path, tmp_path: Path) -> None:
    ask = Evaluate(str(place / "a"), tasks="rocstories", data=shared_data / "tasks", limit=12, device="cpu")
    replace(ask, shots="0,1", out=tmp_path / "out").start()
    for each in results(tmp_path / "out")["results"]:
        assert each["items"] == 12
        assert each["metrics"]["accuracy"]["n"] == 12


def test_a_served_model_is_named_with_its_address(ask: Evaluate) -> None:
    from ensue.evaluate.remote import RemoteScorer
    from ensue.recipes.evaluating.models import open_scorer

    scorer = open_scorer("mine/gpt2@http://localhost:1/v1", window=128)
    assert isinstance(scorer, RemoteScorer)
    assert scorer.identity()["name"] == "mine/gpt2"
    assert scorer.window() == 128
    with pytest.raises(ValueError, match="NAME@http://localhost:1/v1"):
        replace(ask, model="http://localhost:1/v1").start()
    with pytest.raises(ValueError, match="are for models behind a server"):
        replace(ask, window=5).start()


def test_beams_are_made_greedy_where_that_is_asked() -> None:
    from ensue.evaluate.builtin import task_called
    from ensue.verbs.evaluating import _written_as

    tasks = tuple(map(task_called, ("nq_open", "rocstories", "cnn_dailymail")))
    assert [task.decoding.kind for task in tasks] == ["beam", "greedy", "sample"]
    assert [task.decoding.kind for task in _written_as(tasks, greedy=True)] == ["greedy", "greedy", "sample"]
    assert _written_as(tasks, greedy=False) == tasks
