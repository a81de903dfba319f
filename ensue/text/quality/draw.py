"""The draw that decides: a document is kept if a Pareto number exceeds one minus its score.

Brown et al. 2020, appendix A: `np.random.pareto(9) > 1 - document_score`. numpy's Pareto starts at 0 (it is Lomax's
distribution), so P(keep | score) = (2 - score)^-alpha: 0.002 at score 0, 0.026 at 0.5, 0.42 at 0.9, 1 at 1.
"""

from __future__ import annotations

import math

from ensue.core.seeds import seed_for


def pareto_draw(seed: int, document_id: str, alpha: float) -> float:
    """A number of numpy's Pareto distribution that depends on nothing but the arguments; at least 0, to six digits."""
    chance = (seed_for(seed, "quality draw", document_id) + 0.5) / 2**63
    return round(math.expm1(-math.log1p(-chance) / alpha), 6)


def is_kept(score: float, draw: float) -> bool:
    """The rule."""
    return draw > 1 - score


def keep_probability(score: float, alpha: float) -> float:
    """P(keep | score)."""
    return float((2 - score) ** -alpha)


def with_other_alpha(draw: float, alpha: float, other: float) -> float:
    """What the same chance would have drawn with another alpha."""
    return math.expm1(math.log1p(draw) * alpha / other)
