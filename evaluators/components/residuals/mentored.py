"""Mentored residual: complete what was kept to the law that is nearest to the target's.

Of all laws that hold at least the kept mass q*a, the one with the least divergence KL(law || p) is
max(q*a, p/b), with b >= 1 such that it sums to one: so the residual is norm([p/b - q*a]+). With
acceptance min(1, p/(a q)) (`amplified`, factor 1/a) the emitted law is clip(q, p/b, p/a): mentored
decoding. Where q*a <= p it is the matched residual, b = 1.
Source: Tran-Thien, "An optimal lossy variant of speculative decoding" (2023); the water level b is
found by sorting, as for projections onto a simplex.
"""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from paretoken.evaluators.engine.laws import normalised
from paretoken.evaluators.engine.verifier import Residual


class Mentored(Residual):
    """Make up for lenient acceptance as well as a rejection can."""

    def law(self, p: Tensor, q: Tensor, ratio: Callable[[], Tensor]) -> Tensor:
        kept = q * ratio().clamp(max=1.0)
        # Tokens fill up in the order of kept/p: with level c = 1/b the first m of them, those with
        # kept < c*p, hold c * (their p), the others what was kept: c = (1 - kept of others) / p.
        order = (kept / p).nan_to_num(nan=float("inf")).argsort(dim=-1, stable=True)
        p_sorted, kept_sorted = p.gather(-1, order), kept.gather(-1, order)
        filled = p_sorted.cumsum(-1)
        left = 1.0 - (kept_sorted.sum(-1, keepdim=True) - kept_sorted.cumsum(-1))
        level = (left / filled).nan_to_num(nan=float("inf"))
        # The right m is the one whose level is least: fewer or more tokens overflow.
        best = level.amin(-1, keepdim=True).clamp(min=0.0)
        return normalised((best * p - kept).clamp_min(0.0), otherwise=p)


plugin = Mentored
