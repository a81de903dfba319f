"""A group of items put to a model: the requests they make, each distinct one once, and the outcomes."""

from __future__ import annotations

from collections.abc import Sequence

from ensue.core.seeds import seed_for
from ensue.evaluate.records import Asked
from ensue.evaluate.scorer import Prompt, Request, Scored, Scorer, Unscorable, room_for_prompt
from ensue.evaluate.task import Choices, Outcome, Passage, Question, Target, Task

Alone = dict[str, Scored]
"""Continuations after the answer context, each scored once in a run."""


def ask(
    task: Task, group: Sequence[Asked], scorer: Scorer, alone: Alone, *, seed: int
) -> list[tuple[Asked, Outcome, int]]:
    """Each item with its outcome, and how many tokens of a question's prompt did not fit.

    What is scored after the answer context is added to `alone`. Raises Unscorable with the place of an item.
    """
    scored = _scored(task, group, scorer, alone)
    rolled = _rolled(task, group, scorer)
    written = _written(task, group, scorer, seed)
    return [
        (asked, *written[place]) if place in written else (asked, scored.get(place) or rolled[place], 0)
        for place, asked in enumerate(group)
    ]


def _scored(task: Task, group: Sequence[Asked], scorer: Scorer, alone: Alone) -> dict[int, Outcome]:
    """Outcomes of choices and targets, by their places in the group."""
    own = {place: requests for place, asked in enumerate(group) if (requests := _requests(asked))}
    after = {place: _unconditional(task, asked) for place, asked in enumerate(group)}
    owners: dict[Request, int] = {}
    for place, requests in own.items():
        new = [request for request in after[place] if request.continuation not in alone]
        for request in (*requests, *new):
            owners.setdefault(request, place)
    if not owners:
        return {}
    try:
        answers = dict(zip(owners, scorer.loglikelihood(list(owners)), strict=True))
    except Unscorable as error:
        raise Unscorable(str(error), list(owners.values())[error.place]) from error
    both = (request for each in after.values() for request in each if request in answers)
    alone.update({request.continuation: answers[request] for request in both})
    return {
        place: Outcome(
            scores=tuple(answers[request] for request in requests),
            alone=tuple(alone[request.continuation] for request in after[place]),
        )
        for place, requests in own.items()
    }


def _rolled(task: Task, group: Sequence[Asked], scorer: Scorer) -> dict[int, Outcome]:
    """Outcomes of passages."""
    texts = {place: asked.item.text for place, asked in enumerate(group) if isinstance(asked.item, Passage)}
    if not texts:
        return {}
    try:
        scores = scorer.rolling(list(texts.values()), stride=task.stride)
    except Unscorable as error:
        raise Unscorable(str(error), list(texts)[error.place]) from error
    return {place: Outcome(scores=(score,)) for place, score in zip(texts, scores, strict=True)}


def _written(task: Task, group: Sequence[Asked], scorer: Scorer, seed: int) -> dict[int, tuple[Outcome, int]]:
    """Outcomes of questions, and what did not fit of each prompt."""
    prompts = {
        place: Prompt(asked.before + asked.item.context, task.decoding, seed_for(seed, "item", task.name, asked.number))
        for place, asked in enumerate(group)
        if isinstance(asked.item, Question)
    }
    try:
        texts = scorer.generate(list(prompts.values())) if prompts else []
    except Unscorable as error:
        raise Unscorable(str(error), list(prompts)[error.place]) from error
    return {
        place: (Outcome(text=text), _cut(scorer, prompt))
        for (place, prompt), text in zip(prompts.items(), texts, strict=True)
    }


def _requests(asked: Asked) -> list[Request]:
    if isinstance(asked.item, Choices):
        return [Request(asked.before + option.context, option.continuation) for option in asked.item.options]
    if isinstance(asked.item, Target):
        return [Request(asked.before + asked.item.context, asked.item.continuation)]
    return []


def _unconditional(task: Task, asked: Asked) -> list[Request]:
    """The options after the answer context, where the task has one."""
    if task.answer_context is None or not isinstance(asked.item, Choices):
        return []
    return [Request(task.answer_context, option.continuation) for option in asked.item.options]


def _cut(scorer: Scorer, prompt: Prompt) -> int:
    """Tokens of a prompt that do not fit, as far as that is known."""
    window, count = scorer.window(), scorer.count(prompt.text)
    if window is None or count is None:
        return 0
    return max(0, count - room_for_prompt(window, prompt.decoding))
