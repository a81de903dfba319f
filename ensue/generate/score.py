"""What the model thinks of a text: log-likelihoods in nats, with what several texts begin with computed once."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ensue.generate import prefix_plan
from ensue.generate.forward import pad, reading
from ensue.generate.prefix_pass import offsets, run_pass
from ensue.generate.prefix_plan import Limits, Pass, plan
from ensue.generate.prefix_tree import Node, prefix_tree
from ensue.model.branches import Trunk
from ensue.model.gpt import GPT
from ensue.model.patterns import TwoWay

# Legend: B rows, T tokens, N states, M scored tokens, W width, V vocabulary.

Pair = tuple[Sequence[int], Sequence[int]]

CPU_BATCH, GPU_BATCH = 1024, 8192
"""Tokens of a pass unless said. On a CPU larger ones are slower: what a layer makes no longer stays in its caches."""

LOGITS_AT_ONCE = 2**24
"""How many logits are held in memory at a time."""


@dataclass(frozen=True)
class TokenScores:
    """Of each token of a continuation: ln p in nats, and whether it was the likeliest (of equals, the lowest id is)."""

    nats: tuple[float, ...]
    greedy: tuple[bool, ...]

    @property
    def total(self) -> float:
        """ln p of the whole continuation."""
        return sum(self.nats)


@dataclass(frozen=True)
class _Request:
    """The tokens that are fed for a pair, and those that the last of them are followed by."""

    inputs: tuple[int, ...]
    targets: list[int]

    @property
    def first(self) -> int:
        """The place in the inputs that foretells the first target."""
        return len(self.inputs) - len(self.targets)


def loglikelihood(model: GPT, context: Sequence[int], continuation: Sequence[int]) -> float:
    """ln p(continuation | context) in nats, summed over the continuation's tokens; see `score_tokens`."""
    return loglikelihoods(model, [(context, continuation)])[0]


def loglikelihoods(model: GPT, pairs: Sequence[Pair], *, batch_tokens: int | None = None) -> list[float]:
    """ln p(continuation | context) in nats of each (context, continuation) of token ids; see `score_tokens`."""
    return [scores.total for scores in score_tokens(model, pairs, batch_tokens=batch_tokens)]


def rolling_loglikelihood(model: GPT, tokens: Sequence[int], *, first: int, batch_tokens: int | None = None) -> float:
    """ln p(tokens) in nats of a text of any length, in windows that do not overlap, each token scored once.

    The first token is read after `first` (the end token), every later window after the one token before it.
    """
    window = model.config.context
    starts = range(0, len(tokens), window)
    pairs = [([tokens[i - 1] if i else first], tokens[i : i + window]) for i in starts]
    return sum(loglikelihoods(model, pairs, batch_tokens=batch_tokens))


def score_tokens(
    model: GPT,
    pairs: Sequence[Pair],
    *,
    batch_tokens: int | None = None,
    memory: int = 2**30,
    on_done: Callable[[int], None] | None = None,
) -> list[TokenScores]:
    """ln p of each token of each continuation after its context, (context, continuation) being token ids.

    What several pairs begin with is computed once (`prefix_plan`), whatever their order. A pass has at most
    `batch_tokens` tokens (`CPU_BATCH` or `GPU_BATCH` unless said), or one row; neither changes the scores by more than
    rounding. The keys and values of what is shared are held in at most `memory` bytes; what does not fit is computed
    again. `on_done` is told, after each pass that finished some pairs, how many.

    Where the two together are longer than the model's window, the context keeps its last tokens. Raises ValueError for
    an empty context or continuation, for a continuation longer than the window, for a token that the model does not
    have, and for a log-probability that is not a number.
    """
    requests = _requests(model, pairs)
    if not requests:
        return []
    sharing: dict[tuple[int, ...], list[int]] = {}
    for number, request in enumerate(requests):
        sharing.setdefault(request.inputs, []).append(number)
    rows = sorted(sharing)
    nodes = prefix_tree(rows)
    limits = _limits(model, longest=len(max(rows, key=len)), batch_tokens=batch_tokens, memory=memory)
    trunk = Trunk(model.config, capacity=limits.trunk)
    scores = _Scores(requests, [sharing[row] for row in rows], nodes)
    for planned in plan(nodes, limits):
        with reading(model):
            scores.read(model, run_pass(model, rows, planned, trunk), planned)
        if scores.broken:
            raise _broken(model, pairs, scores.broken)
        if on_done is not None and scores.finished:
            on_done(scores.finished)
    return scores.found()


def score_alone(model: GPT, context: Sequence[int], continuation: Sequence[int]) -> TokenScores:
    """The slow twin of `score_tokens`: one pair, in a pass of its own."""
    [request] = _requests(model, [(context, continuation)])
    with reading(model):
        hidden = model.hidden(pad([request.inputs], model.token_embedding.weight.device))  # (1, T, W)
        steps = _log_softmax(model.logits(hidden[0, request.first :]))  # (M, V)
    nats = steps[range(len(request.targets)), request.targets]
    greedy = (int(best) == target for best, target in zip(steps.argmax(-1), request.targets, strict=True))
    return TokenScores(tuple(nats.tolist()), tuple(greedy))


def _broken(model: GPT, pairs: Sequence[Pair], numbers: Sequence[int]) -> ValueError:
    """What to raise for a pass with scores that are no numbers. They spread in it to rows that have them not alone."""
    alone = (number for number in numbers if math.isnan(score_alone(model, *pairs[number]).total))
    return ValueError(
        f"pair {next(alone, numbers[0])}: its log-probability is not a number; the model's weights are damaged, or too "
        "large for this precision. Load another checkpoint, or the same in float32."
    )


def _limits(model: GPT, *, longest: int, batch_tokens: int | None, memory: int) -> Limits:
    weight = model.token_embedding.weight
    on_cpu = weight.device.type == "cpu"
    return Limits(
        batch_tokens=batch_tokens or (CPU_BATCH if on_cpu else GPU_BATCH),
        trunk=min(longest, memory // (2 * model.config.layers * model.config.width * weight.element_size())),
        width=model.config.width,
        pass_cost=prefix_plan.PASS if on_cpu else prefix_plan.GPU_PASS,
    )


class _Scores:
    """What is known of each request so far."""

    def __init__(self, requests: Sequence[_Request], sharing: Sequence[list[int]], nodes: Sequence[Node]) -> None:
        self._requests, self._sharing, self._nodes = requests, sharing, nodes
        self._nats = [[0.0] * len(request.targets) for request in requests]
        self._greedy = [[False] * len(request.targets) for request in requests]
        self._missing = [len(request.targets) for request in requests]
        self.finished = 0
        self.broken: list[int] = []

    def found(self) -> list[TokenScores]:
        """Of each request, once everything is read."""
        assert not any(self._missing)
        return [TokenScores(tuple(nats), tuple(best)) for nats, best in zip(self._nats, self._greedy, strict=True)]

    def read(self, model: GPT, hidden: Tensor, planned: Pass) -> None:
        """Read the scores out of a pass's (B, T, W) states; `finished` is how many requests it completed, and `broken`
        are those with a score that is not a number."""
        places: list[tuple[int, int]] = []  # of each state: its row, and where in it
        wanted: list[tuple[int, int, int]] = []  # of each scored token: its state, request, and number there
        for number, row in enumerate(planned.rows):
            for piece, start in zip(row, offsets(row), strict=True):
                for node in piece.nodes:
                    begin = self._first_of(self._nodes[node])
                    wanted.extend(self._read_by(self._nodes[node], begin, len(places)))
                    shift = start - piece.begin
                    places.extend((number, place + shift) for place in range(begin, self._nodes[node].end))
        self.finished = 0
        if not wanted:
            return
        row_of, place_of = torch.tensor(places, device=hidden.device).unbind(1)
        targets = [self._requests[request].targets[token] for _, request, token in wanted]
        nats, greedy = _read_out(model, hidden[row_of, place_of], [state for state, _, _ in wanted], targets)
        for (_, request, token), value, best in zip(wanted, nats.tolist(), greedy.tolist(), strict=True):
            self._put(request, token, value, best)

    def _put(self, request: int, token: int, nats: float, greedy: bool) -> None:
        if nats != nats:
            self.broken.append(request)
        self._nats[request][token], self._greedy[request][token] = nats, greedy
        self._missing[request] -= 1
        self.finished += not self._missing[request]

    def _first_of(self, node: Node) -> int:
        """The first of a node's places that any request reads; so is every later one."""
        requests = (request for row in self._sharing[node.first : node.last] for request in row)
        return max(node.begin, min(node.end, *(self._requests[request].first for request in requests)))

    def _read_by(self, node: Node, begin: int, states: int) -> Iterator[tuple[int, int, int]]:
        """(state, request, token) of each token that a node's places from `begin` on foretell; `states` come before."""
        if begin == node.end:
            return
        for request in (request for row in self._sharing[node.first : node.last] for request in row):
            first = self._requests[request].first
            for place in range(max(begin, first), node.end):
                yield states + place - begin, request, place - first


def _read_out(model: GPT, states: Tensor, at: list[int], targets: list[int]) -> tuple[Tensor, Tensor]:
    """ln p of each of M targets after the state it stands at, float64, and whether it is the likeliest token.

    Each of the (N, W) states is multiplied by the output matrix once, a few at a time.
    """
    step = max(1, LOGITS_AT_ONCE // model.config.vocab)
    state_of, target_of = torch.tensor(at, device=states.device), torch.tensor(targets, device=states.device)
    nats = torch.empty(len(at), dtype=torch.float64)
    greedy = torch.empty(len(at), dtype=torch.bool)
    for first in range(0, len(states), step):
        steps = _log_softmax(model.logits(states[first : first + step]))  # (N, V)
        here = ((state_of >= first) & (state_of < first + step)).nonzero()[:, 0]
        state, target = state_of[here] - first, target_of[here]
        nats[here.cpu()] = steps[state, target].cpu().double()
        greedy[here.cpu()] = (steps.argmax(-1)[state] == target).cpu()
    return nats, greedy


def _log_softmax(logits: Tensor) -> Tensor:
    """In fp32 or better; on a CPU several times as fast as `logsumexp`, which makes several passes over the logits."""
    return logits.to(torch.promote_types(logits.dtype, torch.float32)).log_softmax(-1)


def _requests(model: GPT, pairs: Sequence[Pair]) -> list[_Request]:
    if any(isinstance(pattern, TwoWay) for pattern in model.config.patterns):
        raise ValueError(
            "a model with a two-way pattern sees what it should foretell; it has no log-likelihood of a text."
        )
    return [_request(model, number, context, continuation) for number, (context, continuation) in enumerate(pairs)]


def _request(model: GPT, number: int, context: Sequence[int], continuation: Sequence[int]) -> _Request:
    window, vocabulary = model.config.context, model.config.vocab
    if not context:
        raise ValueError(f"pair {number}: the context has no tokens; begin it with the tokenizer's end token.")
    if not continuation:
        raise ValueError(f"pair {number}: the continuation has no tokens, so there is nothing to score; give it some.")
    if len(continuation) > window:
        raise ValueError(
            f"pair {number}: the continuation has {len(continuation):,} tokens, more than this model's context of "
            f"{window:,}; shorten it, or score it as a rolling log-likelihood."
        )
    # The last token is never an input, so window + 1 tokens fit.
    tokens = (*context, *continuation)[-window - 1 :]
    if not 0 <= min(tokens) <= max(tokens) < vocabulary:
        raise ValueError(
            f"pair {number}: a token id is outside this model's vocabulary of {vocabulary:,}; encode it with the "
            "model's own tokenizer."
        )
    return _Request(tokens[:-1], list(tokens[-len(continuation) :]))
