"""The built-in tasks, by family."""

from __future__ import annotations

from ensue.core.config import suggest
from ensue.evaluate.task import Task
from ensue.evaluate.tasks import (
    arithmetic,
    blimp,
    classification,
    closed_book,
    cloze,
    comprehension,
    first_paper,
    inference,
    lambada,
    language_modelling,
    multiple_choice,
    reading,
    scrambling,
    story_cloze,
    summarisation,
    superglue,
    superglue_passages,
    translation,
    winograd,
    word_problems,
)

FORETOLD: tuple[Task, ...] = (*language_modelling.TASKS, *lambada.TASKS)
"""Whole texts, and the last word of passages."""

CHOSEN: tuple[Task, ...] = (
    *cloze.TASKS,
    *story_cloze.TASKS,
    *multiple_choice.TASKS,
    *reading.TASKS,
    *winograd.TASKS,
    *superglue.TASKS,
    *superglue_passages.TASKS,
    *inference.TASKS,
    *classification.TASKS,
    *blimp.TASKS,
    *first_paper.TASKS,
)
"""One option of several is right."""

WRITTEN: tuple[Task, ...] = (
    *comprehension.TASKS,
    *closed_book.TASKS,
    *translation.TASKS,
    *summarisation.TASKS,
    *arithmetic.TASKS,
    *scrambling.TASKS,
    *word_problems.TASKS,
)
"""The answer is written freely."""

BUILT_IN: tuple[Task, ...] = (*FORETOLD, *CHOSEN, *WRITTEN)


def task_called(name: str, tasks: tuple[Task, ...] = BUILT_IN) -> Task:
    """The task of that name. Raises ValueError naming the nearest ones."""
    by_name = {task.name: task for task in tasks}
    if name not in by_name:
        raise ValueError(f"there is no task {name!r}{suggest(name, by_name)}\nAll of them: ensue evaluate --list")
    return by_name[name]
