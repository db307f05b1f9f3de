"""Exact residual: norm([p - q]+), the one that makes ordinary speculative sampling lossless.

Source: Leviathan, Kalman and Matias (2023, arXiv:2211.17192); Chen et al. (2023, arXiv:2302.01318).
"""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from paretoken.evaluators.engine.laws import normalised
from paretoken.evaluators.engine.verifier import Residual


class Exact(Residual):
    """Draw what the target has more of than the draft."""

    def law(self, p: Tensor, q: Tensor, ratio: Callable[[], Tensor]) -> Tensor:
        return normalised((p - q).clamp_min(0.0), otherwise=p)


plugin = Exact
