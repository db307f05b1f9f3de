"""Exact acceptance: keep a draft with probability min(1, p/q). Lossless with any drafts.

Source: Leviathan, Kalman and Matias (2023, arXiv:2211.17192); for Jacobi drafts: Teng et al.,
"Accelerating auto-regressive text-to-image generation with training-free SJD" (arXiv:2410.01699).
"""

from __future__ import annotations

from torch import Tensor

from paretoken.evaluators.engine.geometry import Geometry
from paretoken.evaluators.engine.verifier import PerToken


class Exact(PerToken):
    """Keep a draft as often as the target would have it."""

    def ratio(
        self, p: Tensor, q: Tensor, tokens: Tensor, slot: Tensor, geometry: Geometry
    ) -> Tensor:
        return p.gather(-1, tokens) / q.gather(-1, tokens)


plugin = Exact
