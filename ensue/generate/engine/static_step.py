"""One new token of each request through the model, in shapes and at addresses that never change.

Which pages are written and read is numbers in a tensor, so that nothing is decided on the host while the step runs: it
can be recorded as a CUDA graph. It is `GPT.hidden` over the pages of `PlainPasses`, seen through a cache of fixed size.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ensue.generate.engine.groups import Group, groups_of
from ensue.generate.engine.pages import PAGE
from ensue.generate.engine.passes import PlainPasses
from ensue.model.cache import Cache
from ensue.model.config import GPTConfig
from ensue.model.patterns import Pattern

# Legend: B slots, one for each request and some that are idle; P pages shown to each, S places in them; H heads,
# D head width, W width, V vocabulary.

FEWEST_PAGES = 8
"""Pages that even the shortest requests are shown: looking at 128 tokens costs next to nothing, one more graph does."""


@dataclass(frozen=True)
class Shape:
    """B slots, and how many pages of each group of layers every one of them is shown."""

    slots: int
    shown: tuple[int, ...]

    @property
    def sizes(self) -> list[int]:
        """What a step's numbers are, B of each: ids, places, and offsets in the page that is written; then for each
        group that page, the place at which the pages shown begin, and these pages, P for each slot."""
        return [self.slots * each for each in (1, 1, 1, *(size for pages in self.shown for size in (1, 1, pages)))]


def shape_for(config: GPTConfig, groups: Sequence[Group], places: Sequence[int]) -> Shape:
    """The smallest shape for requests whose new tokens stand at `places`: powers of two, cut to what there can be."""
    longest = -(-config.context // PAGE)
    pages = min(max(FEWEST_PAGES, _power_of_two(max(places) // PAGE + 1)), longest)
    reaches = [group.kept.reach for group in groups]
    bands = [longest if reach is None else -(-(reach - 1) // PAGE) + 1 for reach in reaches]
    return Shape(_power_of_two(len(places)), tuple(min(pages, band) for band in bands))


def why_not_static(config: GPTConfig) -> str | None:
    """Why a model has no static step, in words that follow "passes are not recorded: "; None where it has one."""
    far = any(group.far for group in groups_of(config))
    return "summaries of earlier blocks are kept in pages of their own, as many as there are" if far else None


class StaticStep:
    """The model over the pages that `plain` holds. Called with the numbers of a shape, it gives the next logits."""

    def __init__(self, plain: PlainPasses) -> None:
        """Raises ValueError for a model that has no such step; see `why_not_static`."""
        reason = why_not_static(plain.config)
        if reason is not None:
            raise ValueError(f"this model's passes cannot be recorded: {reason}. Run it with PlainPasses.")
        self.model = plain.model
        config, device = plain.config, plain.held[0].device
        whole = -(-config.context // PAGE) * PAGE
        self.places = torch.arange(whole, device=device)
        self.heads = torch.arange(config.heads, device=device)[:, None]
        # Tensors of their own for each layer: a compiler that saw them all as one would copy it to change a part.
        self.stores: dict[int, tuple[Tensor, Tensor]] = {}
        self.group_of: dict[int | Pattern, int] = {}
        for number, (group, held) in enumerate(zip(plain.groups, plain.held, strict=True)):
            for place, layer in enumerate(group.layers):
                self.stores[layer] = (held[0, place], held[1, place])  # (pages, H, 16, D) each
                self.group_of[layer] = self.group_of[config.pattern(layer)] = number

    def __call__(self, numbers: Tensor, shape: Shape) -> tuple[Tensor, Tensor]:
        """(B, W) states and (B, V) logits, float, from the int64 numbers in the order of `Shape.sizes`."""
        ids, *others = torch.split(numbers, shape.sizes)
        hidden = self.model.hidden(ids[:, None], cache=_Shown(self, others, shape))[:, 0]
        return hidden.float(), self.model.logits(hidden).float()


class _Shown(Cache):
    """The pages that a step's numbers name, as the cache that `GPT.forward` knows."""

    def __init__(self, step: StaticStep, numbers: Sequence[Tensor], shape: Shape) -> None:
        self._step, self._slots = step, shape.slots
        self._positions, self._offsets = numbers[:2]
        self._written, self._places, self._rows = [], [], []
        heads = len(step.heads)
        for group, pages in enumerate(shape.shown):
            written, start, shown = numbers[2 + 3 * group : 5 + 3 * group]
            self._written.append(written)
            self._places.append(start[:, None, None] + step.places[: pages * PAGE])  # (B, 1, S)
            rows = torch.add(step.heads, shown.view(shape.slots, 1, pages), alpha=heads)  # (B, H, P)
            self._rows.append(rows.flatten())
        self.lengths = [0] * shape.slots  # the context is never exceeded; what is where, `places` says

    def begin(self, new: int) -> Tensor:
        assert new == 1
        return self._positions[:, None]

    def write(self, layer: int, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
        group = self._step.group_of[layer]
        keys, values = self._step.stores[layer]
        return self._exchange(keys, key, group), self._exchange(values, value, group)

    def _exchange(self, held: Tensor, given: Tensor, group: int) -> Tensor:
        """Write what is given, (B, H, 1, D), and read all that is shown, (B, H, S, D), in one kernel each."""
        held[self._written[group], :, self._offsets] = given[:, :, 0].to(held.dtype)
        _, heads, _, width = held.shape
        of_head = held.view(-1, PAGE * width)  # a row is what one head has in one page
        return of_head.index_select(0, self._rows[group]).view(self._slots, heads, -1, width)

    def places(self, pattern: Pattern, new: int) -> Tensor | None:
        return self._places[self._step.group_of[pattern]]

    def advance(self, new: int) -> None:
        """The engine counts."""


def _power_of_two(least: int) -> int:
    return 1 << (least - 1).bit_length()
