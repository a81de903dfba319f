"""The built-in tasks, by family."""

from __future__ import annotations

from ensue.core.config import suggest
from ensue.evaluate.task import Task
from ensue.evaluate.tasks import story_cloze

BUILT_IN: tuple[Task, ...] = (*story_cloze.TASKS,)


def task_called(name: str, tasks: tuple[Task, ...] = BUILT_IN) -> Task:
    """The task of that name. Raises ValueError naming the nearest ones."""
    by_name = {task.name: task for task in tasks}
    if name not in by_name:
        raise ValueError(f"there is no task {name!r}{suggest(name, by_name)}\nAll of them: ensue evaluate --list")
    return by_name[name]
