"""The processes of one run at work together: process 0 leads, and tells the others what all do next.

Only the leader decides anything: when to save, to read the held-out loss, to stop, to go back. So no two processes can
come to different decisions by looking at their own clocks, signals or files. One process alone is a crew without
others, and tells nobody.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ensue.loss.next_token import NextToken
from ensue.loss.shared_targets import SharedTargets
from ensue.loss.types import Objective
from ensue.model.gpt import GPT
from ensue.model.weights import load_model
from ensue.recipes.data import Data
from ensue.recipes.held_out import HeldOutLoss, mixed_held_out_loss
from ensue.recipes.run_config import RunConfig
from ensue.tokens.batch import Batch
from ensue.tokens.moved import MovedStream
from ensue.tokens.shards import DocumentSpan
from ensue.train.checkpoint import Progress, load_checkpoint
from ensue.train.engine import Engine
from ensue.train.parallel import Place, listen, rank_of_this, started_processes, tell
from ensue.train.parallel_layers import from_cut_order, to_cut_order
from ensue.train.parallel_tensors import fill, whole
from ensue.train.spikes import Spike

Judge = Callable[[int, float, float], str | None]


def place_of_this(config: RunConfig) -> Place:
    """Where this process stands in the config's mesh.

    Raises ValueError where mesh and processes do not match, or the run cannot be shared out so.
    """
    place = Place(rank_of_this(), *config.parallel.sizes(started_processes()))
    for what, count in (("heads", config.model.heads), ("hidden units of the MLP", config.model.hidden)):
        if count % place.tensor:
            raise ValueError(
                f"{count} {what} cannot be shared by --parallel.tensor {place.tensor}; use a size that divides them."
            )
    if max(config.batch.start if config.batch.steps else 0, config.batch.end) < place.readers:
        raise ValueError(
            f"a batch of {config.batch.end} sequences has none for some of {place.readers} processes that each read a "
            f"part of it; type --batch.end {place.readers} or more, or start fewer."
        )
    if place.sharded and config.norms_every:
        raise ValueError("the norms of layers that are cut over processes are not told; type --norms_every 0.")
    return place


def objective_at(place: Place, states: Callable[..., Tensor] | None = None) -> Objective[Batch]:
    """Next token, of which the processes of a tensor group score a part each."""
    plain = NextToken(states)
    return plain if place.tensor == 1 else SharedTargets(plain, part=place.tensor_rank, parts=place.tensor)


@dataclass
class Work:
    """What all processes of a run do together, each its part. The leader's `whole` is a model of its own where `model`
    is cut, else `model` itself; the others have none."""

    config: RunConfig
    data: Data
    model: GPT
    engine: Engine
    stream: MovedStream
    place: Place
    whole: GPT | None

    def gather_weights(self) -> None:
        """Bring the leader's whole model up to date."""
        if not self.place.sharded:
            return
        wholes = dict(self.whole.named_parameters()) if self.whole is not None else {}
        for name, parameter in self.model.named_parameters():
            value = self._gathered(name, parameter.detach())
            if wholes:
                wholes[name].data.copy_(value)

    def gather_optimizer(self) -> dict[str, Tensor]:
        """The optimizer's state: whole tensors in the leader's memory, nothing for the others."""
        tensors = self.engine.optimizer.tensors()
        if not self.place.sharded:
            return tensors
        gathered = ((name, self._gathered(name, tensor)) for name, tensor in tensors.items())
        return {name: value.cpu() for name, value in gathered if self.place.leads}

    def load(self, checkpoint: Path, *, weights: bool) -> Progress:
        """Take up the optimizer and counters of a checkpoint that the leader has checked, and the weights if said."""
        progress = load_checkpoint(self.engine, checkpoint, checked=True, turn=self._to_cut_order)
        if weights:
            source = load_model(checkpoint) if self.place.leads else None
            self.spread(source)
            if source is not None and self.whole is not None:
                self.whole.load_state_dict(source.state_dict())
        return progress

    def spread(self, source: GPT | None) -> None:
        """Give every process what is its own of the leader's `source`."""
        if self.place.processes > 1:
            fill(self.model, source, self._to_cut_order)

    def held_out(self, *, limit_tokens: int | None, stride: int | None) -> HeldOutLoss:
        return mixed_held_out_loss(
            self.model,
            [(part.name, part.weight.mean, part.held_out) for part in self.data.parts],
            objective=objective_at(self.place),
            micro_batch=self.config.micro_batch,
            precision=self.engine.precision,
            limit_tokens=limit_tokens,
            stride=stride,
            masking=self.config.masking,
            replica=self.engine.replica,
        )

    def _gathered(self, name: str, tensor: Tensor) -> Tensor:
        return from_cut_order(name, whole(tensor), self.place.tensor)

    def _to_cut_order(self, name: str, value: Tensor) -> Tensor:
        return to_cut_order(name, value, self.place.tensor)


class Crew:
    """The leader's side: whatever the model has to do as a whole goes through here."""

    def __init__(self, work: Work) -> None:
        self.work = work
        if work.place.leads and work.place.processes > 1:
            work.engine.stream = _ToldStream(work)

    def whole_model(self) -> GPT:
        """The model as it is now, in this process; of a model that is cut, a copy in the CPU's memory."""
        self._tell("gather weights")
        self.work.gather_weights()
        assert self.work.whole is not None
        return self.work.whole

    def optimizer_tensors(self) -> dict[str, Tensor]:
        """The whole state of the optimizer, in this process."""
        self._tell("gather optimizer")
        return self.work.gather_optimizer()

    def load(self, checkpoint: Path, *, weights: bool) -> Progress:
        """Take up a whole checkpoint's state, with the weights unless they are there already."""
        self._tell("load", checkpoint=str(checkpoint.resolve()), weights=weights)
        return self.work.load(checkpoint, weights=weights)

    def held_out(self, *, limit_tokens: int | None, stride: int | None) -> HeldOutLoss:
        """The loss on held-out text, which the processes share out."""
        self._tell("read", limit_tokens=limit_tokens, stride=stride)
        return self.work.held_out(limit_tokens=limit_tokens, stride=stride)

    def use_threads(self, count: int) -> None:
        """Have every process compute with so many threads from now on."""
        self._tell("threads", count=count)
        torch.set_num_threads(count)

    def judge_by(self, judge: Judge) -> None:
        """Have each step judged here, and the others told the verdict."""

        def told(index: int, loss: float, grad_norm: float) -> str | None:
            try:
                reason = judge(index, loss, grad_norm)
            except Spike:
                tell({"do": "give up the step"})
                raise
            tell({"do": "go on", "skipped": reason})
            return reason

        self.work.engine.judge = judge if self.work.place.processes == 1 else told

    def _tell(self, order: str, **arguments: Any) -> None:
        alone = self.work.place.processes == 1
        if not alone and (self.work.place.sharded or not order.startswith("gather")):
            tell({"do": order, **arguments})


class _ToldStream:
    """The leader's stream, which tells the others of a step before it reads its own part of it."""

    def __init__(self, work: Work) -> None:
        self._work = work

    def batches(self, step: int) -> Iterator[Batch]:
        engine, moves = self._work.engine, [list(move) for move in self._work.stream.moves]
        judged = engine.judge is not None
        tell({"do": "step", "index": step, "schedule": vars(engine.schedule), "moves": moves, "judged": judged})
        return self._work.stream.batches(step)

    def documents(self, step: int) -> list[DocumentSpan]:
        return self._work.stream.documents(step)


class GivenUp(Exception):
    """The leader goes back from this step."""


def judge_of_the_leader(_: int, __: float, ___: float) -> str | None:
    """What the others ask: the leader's verdict. Raises GivenUp where it goes back from the step."""
    order = listen()
    if order["do"] != "go on":
        raise GivenUp
    reason: str | None = order["skipped"]
    return reason
