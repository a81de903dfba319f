"""A draw from one row of logits that looks at the likely tokens only; `ensue.generate.sampling.choose` is its twin."""

from __future__ import annotations

from torch import Tensor

from ensue.generate.sampling import draw
from ensue.generate.settings import Sampling

CANDIDATES = 512
"""Tokens that are looked at first; a nucleus that needs more takes them all."""


def draw_token(row: Tensor, sampling: Sampling, uniform: float) -> int:
    """The token that `choose` takes from (V,) logits at a temperature above 0, without penalties.

    Only candidates are sorted: those above the k-th largest logit, or enough of the largest to reach `top_p`.
    """
    scaled = (row.double() - row.max()) / sampling.temperature
    if sampling.top_k is not None and sampling.top_k < len(row):
        ids = (row >= row.topk(sampling.top_k).values[-1]).nonzero()[:, 0]
        return _from(ids, scaled[ids], scaled[ids].logsumexp(0), sampling.top_p, uniform)
    if sampling.top_p is None or sampling.top_p >= 1:
        return draw(scaled[None], [uniform])[0]
    total = scaled.logsumexp(0)
    count = min(CANDIDATES, len(row))
    while True:
        ids = (row >= row.topk(count).values[-1]).nonzero()[:, 0]
        likely = scaled[ids]
        if len(ids) == len(row) or float((likely - total).exp().sum()) >= sampling.top_p:
            return _from(ids, likely, total, sampling.top_p, uniform)
        count = min(8 * count, len(row))


def _from(ids: Tensor, logits: Tensor, total: Tensor, top_p: float | None, uniform: float) -> int:
    """A draw from candidates in the order of their ids; `total` is the logarithm of what all probabilities share."""
    if top_p is not None and top_p < 1:
        ordered, order = logits.sort(descending=True, stable=True)
        probability = (ordered - total).exp()
        inside = order[(probability.cumsum(0) - probability) < top_p]
        kept = inside.sort().values  # in the order of ids again; the likeliest is always there
        ids, logits = ids[kept], logits[kept]
    (place,) = draw(logits[None], [uniform])
    return int(ids[place])
