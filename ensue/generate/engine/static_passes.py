"""Passes for a GPU: one new token of each request is a CUDA graph, recorded once for each shape and replayed.

A pass over a few tokens is hundreds of kernels of a few microseconds each, which a host cannot start as fast as a GPU
ends them. What changes from pass to pass is numbers, which reach the GPU in one copy. Without a GPU, and where nothing
is to be recorded, the very same step runs kernel by kernel.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from ensue.generate.engine.groups import Group
from ensue.generate.engine.pages import PAGE
from ensue.generate.engine.passes import PlainPasses, Tokens
from ensue.generate.engine.static_step import Shape, StaticStep, shape_for
from ensue.generate.forward import reading
from ensue.generate.screen import Greatest
from ensue.model.gpt import GPT

# Legend: B slots, P pages shown, W width, V vocabulary.

Step = Callable[[Tensor, Shape], tuple[Tensor, Tensor]]
"""What `StaticStep` is."""

WARM_UP = 3
"""Runs before a recording, in which libraries choose their kernels and set up what they keep."""

MOST_SHAPES = 256
"""That one step is compiled for; torch's own limit of 8 is meant for shapes that come without end."""


def merged(step: Step) -> Step:
    """The step with its kernels merged by torch.compile, which takes a while for each new shape.

    Attention is written out for that: unlike a fused kernel it can be merged with what reads the pages, so that keys
    and values need not be copied together first.
    """
    options: dict[str, str | int | bool | Callable[..., object]] = {"coordinate_descent_tuning": True}
    compiled = torch.compile(step, fullgraph=True, dynamic=False, options=options)

    def run(numbers: Tensor, shape: Shape) -> tuple[Tensor, Tensor]:
        with torch._dynamo.config.patch(recompile_limit=MOST_SHAPES), sdpa_kernel(SDPBackend.MATH):
            return compiled(numbers, shape)

    return run


class StaticPasses:
    """Requests with one new token together in a static step, others through `PlainPasses`, on the same pages."""

    def __init__(
        self,
        model: GPT,
        pages: Sequence[int],
        *,
        record: bool = True,
        compiler: Callable[[Step], Step] | None = None,
    ) -> None:
        """`pages` of each group of layers; one more of each is where idle slots write.

        `record` makes CUDA graphs, on a GPU; the weights must then stay where they are. `compiler` makes the step
        faster; see `merged`.
        """
        self.model, self.config, self.pages = model, model.config, tuple(pages)
        self.plain = PlainPasses(model, [count + 1 for count in pages])
        self.groups, self.device = self.plain.groups, self.plain.held[0].device
        step = StaticStep(self.plain)
        self._step = step if compiler is None else compiler(step)
        on_gpu = self.device.type == "cuda"
        self._pool = torch.cuda.graph_pool_handle() if on_gpu and record else None
        self._prepared: dict[Shape, _Prepared] = {}

    @property
    def shapes(self) -> tuple[Shape, ...]:
        """Those that were needed so far."""
        return tuple(self._prepared)

    def run(
        self, tokens: Tokens, tables: Sequence[Tensor], wanted: Sequence[int], greatest: Greatest | None = None
    ) -> tuple[Tensor, Tensor]:
        """As in `Passes`, with all logits."""
        of_row = Counter(tokens.rows)
        single = [i for i, row in enumerate(tokens.rows) if of_row[row] == 1]
        if not single:
            return self.plain.run(tokens, tables, wanted)
        states, logits = self._run(_some(tokens, single), tables)
        found = single
        if len(single) < len(tokens.ids):
            rest = [i for i, row in enumerate(tokens.rows) if of_row[row] > 1]
            asked = set(wanted)
            places = [place for place, i in enumerate(rest) if i in asked]
            more = self.plain.run(_some(tokens, rest), tables, places)
            states, logits = torch.cat((states, more[0])), torch.cat((logits, more[1]))
            found = [*single, *(rest[place] for place in places)]
        if list(wanted) == found:
            return states, logits
        where = {i: place for place, i in enumerate(found)}
        order = [where[i] for i in wanted]
        return states[order], logits[order]

    def states(self, tokens: Tokens, tables: Sequence[Tensor]) -> Tensor:
        """As in `Passes`, through the plain pass: whole texts are read, not written."""
        return self.plain.states(tokens, tables)

    def _run(self, tokens: Tokens, tables: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        """States and logits of all tokens, each of another request."""
        shape = shape_for(self.config, self.groups, tokens.places)
        on_device = torch.cuda.device(self.device) if self.device.type == "cuda" else nullcontext()
        with reading(self.model), on_device:
            if shape not in self._prepared:
                self._prepared[shape] = _Prepared(self._step, shape, self.device, self._pool)
            prepared = self._prepared[shape]
            prepared.fill(tokens, tables, self.groups, idle=self.pages)
            return prepared.run(len(tokens.ids))


class _Prepared:
    """The step of one shape: where its numbers lie, and what was recorded of it."""

    def __init__(self, step: Step, shape: Shape, device: torch.device, pool: Any) -> None:
        """It is recorded where there is a `pool` of memory for that; recordings share it, since they run in turns."""
        self._step, self._shape, self._pool = step, shape, pool
        on_gpu = device.type == "cuda"
        self._host = torch.zeros(sum(shape.sizes), dtype=torch.long, pin_memory=on_gpu)
        self._parts = [part.numpy().reshape(shape.slots, -1) for part in torch.split(self._host, shape.sizes)]
        self._numbers = self._host.to(device)
        self._copied = torch.cuda.Event() if on_gpu else None  # type: ignore[no-untyped-call]
        self._recording: tuple[torch.cuda.CUDAGraph, tuple[Tensor, Tensor]] | None = None

    def fill(self, tokens: Tokens, tables: Sequence[Tensor], groups: Sequence[Group], *, idle: Sequence[int]) -> None:
        """Write down what the step is to do; idle slots have token 0 in the page that is `idle`, of each group."""
        if self._copied is not None:
            self._copied.synchronize()  # the last copy has long been read, but for a caller that does not wait
        count = len(tokens.ids)
        rows, places = np.array(tokens.rows), np.array(tokens.places)
        pages = places // PAGE
        for part in self._parts:
            part[count:] = 0
        ids, positions, offsets, *others = self._parts
        ids[:count, 0], positions[:count, 0], offsets[:count, 0] = tokens.ids, places, places % PAGE
        for number, (group, table) in enumerate(zip(groups, tables, strict=True)):
            written, start, shown = others[3 * number : 3 * number + 3]
            lent = table.numpy()
            # A band is shown the pages up to the newest, of which some may lie before the first; others, all.
            first = np.zeros_like(pages) if group.kept.reach is None else pages - shown.shape[1] + 1
            columns = first[:, None] + np.arange(shown.shape[1])
            written[:count, 0], start[:count, 0] = lent[rows, pages], first * PAGE
            shown[:count] = lent[rows[:, None], columns.clip(0, lent.shape[1] - 1)]
            written[count:] = shown[count:] = idle[number]

    def run(self, count: int) -> tuple[Tensor, Tensor]:
        """The first `count` states and logits, in memory of their own."""
        if self._copied is not None:
            self._numbers.copy_(self._host, non_blocking=True)
            self._copied.record()
        if self._pool is None:
            states, logits = self._step(self._numbers, self._shape)
            return states[:count], logits[:count]
        if self._recording is None:
            self._recording = self._record()
        graph, (states, logits) = self._recording
        graph.replay()
        return states[:count].clone(), logits[:count].clone()

    def _record(self) -> tuple[torch.cuda.CUDAGraph, tuple[Tensor, Tensor]]:
        """A graph of the step, and where it leaves its (B, W) states and (B, V) logits.

        The step runs a few times before, on the numbers that are there: it writes the same keys and values each time.
        """
        here = torch.cuda.current_stream()
        aside = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        aside.wait_stream(here)
        with torch.cuda.stream(aside):
            for _ in range(WARM_UP):
                self._step(self._numbers, self._shape)
        here.wait_stream(aside)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, pool=self._pool, capture_error_mode="thread_local"):
            results = self._step(self._numbers, self._shape)
        return graph, results


def _some(tokens: Tokens, which: Sequence[int]) -> Tokens:
    if len(which) == len(tokens.ids):
        return tokens
    return Tokens(*([values[i] for i in which] for values in (tokens.ids, tokens.places, tokens.rows)))
