"""docs/tasks.md lists the tasks that there are, with their sets, rules and shots."""

import re
from pathlib import Path

from ensue.evaluate.builtin import CHOSEN


def test_the_table_has_every_task_with_its_set_rule_and_shots():
    text = (Path(__file__).parents[3] / "docs" / "tasks.md").read_text(encoding="utf-8")
    table = text.partition("## One option of several")[2].partition("### ")[0]
    lines = {}
    for line in table.splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        for name in re.findall(r"`(\w+)`", cells[0]):
            if line.startswith("|"):
                lines[name] = cells
    tasks = {task.name: task for task in CHOSEN}
    assert lines.keys() == tasks.keys()
    for name, task in tasks.items():
        _, sets, _, rule, _, shots = lines[name]
        assert task.files.test in sets or sets.endswith("...")
        assert shots == (str(task.shots) if task.shots else "")
        if name == "wsc":
            assert rule == f"beam {task.decoding.width}, {task.decoding.alpha}"
        elif name != "gpt_cola":
            assert rule == task.scoring
