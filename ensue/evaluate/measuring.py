"""Asking a model all items of a task, group by group; what is finished is on disk and is never asked again."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from ensue.core.seeds import seed_for
from ensue.evaluate.loading import Loaded, make_item
from ensue.evaluate.records import Asked, Record, alone_scores, append_records, read_records, record_of
from ensue.evaluate.scorer import Prompt, Request, Scored, Scorer, room_for_prompt
from ensue.evaluate.shots import before, demonstration, draw, fitting
from ensue.evaluate.task import Choices, Outcome, Passage, Question, Target

Alone = dict[str, Scored]
"""Continuations after the answer context, each scored once in a run."""


def measure(
    loaded: Loaded,
    scorer: Scorer,
    path: Path,
    *,
    shots: int,
    seed: int = 0,
    on_items: Callable[[int], None] | None = None,
) -> list[Record]:
    """The records of all items with `shots` examples before each, in order; see `Record`.

    Those that the file `path` has already are taken from it, and every finished group is added to it. `on_items` is
    told how many items are done. Raises ValueError naming the task and the row where an item cannot be asked.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    told = on_items or (lambda _: None)
    records = {record["row"]: record for record in read_records(path)}
    alone = alone_scores(list(records.values()))
    told(len(records))
    left = [number for number in loaded.numbers if number not in records]
    prepare = _Preparing(loaded, scorer, shots, seed)
    for first in range(0, len(left), scorer.at_once):
        group = [prepare(number) for number in left[first : first + scorer.at_once]]
        try:
            finished = list(_ask(loaded, group, scorer, alone, seed))
        except ValueError as error:
            rows = f"rows {group[0].number} to {group[-1].number}" if len(group) > 1 else f"row {group[0].number}"
            raise ValueError(f"{loaded.task.name}, {rows}: {error}") from error
        append_records(path, finished)
        records |= {record["row"]: record for record in finished}
        told(len(finished))
    if left:
        with path.open("rb") as file:
            os.fsync(file.fileno())
    return [records[number] for number in loaded.numbers]


class _Preparing:
    """Puts examples before an item; the text of each is made once."""

    def __init__(self, loaded: Loaded, scorer: Scorer, shots: int, seed: int) -> None:
        self._loaded, self._scorer, self._shots, self._seed = loaded, scorer, shots, seed
        self._texts: dict[int, str] = {}

    def __call__(self, number: int) -> Asked:
        task, row, pool = self._loaded.task, self._loaded.rows[number], self._loaded.pool
        item = make_item(task, self._loaded.rows, number)
        if not self._shots or pool is None:
            return Asked(number, row, item, task.header, ())
        drawn = draw(pool, self._shots, seed=self._seed, task=task.name, number=number, row=row)
        texts = [self._text(place) for place in drawn]
        fit = fitting(task, item, texts, self._scorer)
        examples = tuple(pool.numbers[place] for place in reversed(drawn[:fit]))
        return Asked(number, row, item, before(task, texts[:fit]), examples)

    def _text(self, place: int) -> str:
        pool = self._loaded.pool
        assert pool is not None
        if place not in self._texts:
            self._texts[place] = demonstration(self._loaded.task, pool.rows[place])
        return self._texts[place]


def _ask(loaded: Loaded, group: Sequence[Asked], scorer: Scorer, alone: Alone, seed: int) -> Iterator[Record]:
    """The records of a group of items, whose requests go out together, each distinct text once."""
    task = loaded.task
    asked_for = dict.fromkeys(request for asked in group for request in _requests(asked))
    extra = dict.fromkeys(request for asked in group for request in _unconditional(loaded, asked, alone))
    both = [*asked_for, *extra]
    answers = dict(zip(both, scorer.loglikelihood(both), strict=True)) if both else {}
    alone.update({request.continuation: answers[request] for request in extra})
    passages = [asked.item.text for asked in group if isinstance(asked.item, Passage)]
    rolled = iter(scorer.rolling(passages, stride=task.stride) if passages else ())
    prompts = [
        Prompt(asked.before + asked.item.context, task.decoding, seed_for(seed, "item", task.name, asked.number))
        for asked in group
        if isinstance(asked.item, Question)
    ]
    written = iter(zip(prompts, scorer.generate(prompts), strict=True) if prompts else ())
    for asked in group:
        item = asked.item
        if isinstance(item, Question):
            prompt, text = next(written)
            yield record_of(task, asked, Outcome(text=text), cut=_cut(scorer, prompt))
        elif isinstance(item, Passage):
            yield record_of(task, asked, Outcome(scores=(next(rolled),)))
        else:
            scores = tuple(answers[request] for request in _requests(asked))
            after = isinstance(item, Choices) and task.answer_context is not None
            others = tuple(alone[request.continuation] for request in _requests(asked)) if after else ()
            yield record_of(task, asked, Outcome(scores=scores, alone=others))


def _requests(asked: Asked) -> list[Request]:
    if isinstance(asked.item, Choices):
        return [Request(asked.before + option.context, option.continuation) for option in asked.item.options]
    if isinstance(asked.item, Target):
        return [Request(asked.before + asked.item.context, asked.item.continuation)]
    return []


def _unconditional(loaded: Loaded, asked: Asked, known: Alone) -> list[Request]:
    """The options after the answer context, those that are not known yet."""
    context = loaded.task.answer_context
    if context is None or not isinstance(asked.item, Choices):
        return []
    return [
        Request(context, text) for text in (option.continuation for option in asked.item.options) if text not in known
    ]


def _cut(scorer: Scorer, prompt: Prompt) -> int:
    """Tokens of a prompt that do not fit, as far as that is known."""
    window, count = scorer.window(), scorer.count(prompt.text)
    if window is None or count is None:
        return 0
    return max(0, count - room_for_prompt(window, prompt.decoding))
