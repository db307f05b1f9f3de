"""Matched residual: norm([p - q*a]+), lossless for any acceptance a with q*a <= p.

It equals the exact residual for every rule that is never stricter than the exact one
(`image_decoders` fact 2; a proposition of Cool-SD, 2026, arXiv:2601.09212).
"""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from paretoken.evaluators.engine.laws import normalised
from paretoken.evaluators.engine.verifier import Residual


class Matched(Residual):
    """Draw what the accepted drafts left over of the target."""

    def law(self, p: Tensor, q: Tensor, ratio: Callable[[], Tensor]) -> Tensor:
        return normalised((p - q * ratio().clamp(max=1.0)).clamp_min(0.0), otherwise=p)


plugin = Matched
