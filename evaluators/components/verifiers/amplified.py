"""Amplified acceptance: min(1, k * p/q), the plainest relaxation; the baseline of GSD's paper.

Equivalences: k = 1 is exact. Never stricter than exact, so matched and exact residual coincide.
Source: So et al., "Grouped speculative decoding" (2025, arXiv:2508.07747), its ablation.
"""

from __future__ import annotations

from torch import Tensor

from paretoken.evaluators.components.verifiers.exact import Exact
from paretoken.evaluators.engine.geometry import Geometry
from paretoken.evaluators.engine.verifier import PerToken
from paretoken.spaces.component import Component, knob


class Amplified(PerToken):
    """Keep a draft as if the target liked it `factor` times better."""

    factor: float = knob(
        2.0,
        low=1.0,
        high=16.0,
        grid=(1.0, 1.5, 2.0, 3.0, 4.0),
        doc="How much p/q is multiplied by.",
    )

    def ratio(
        self, p: Tensor, q: Tensor, tokens: Tensor, slot: Tensor, geometry: Geometry
    ) -> Tensor:
        return self.factor * (p.gather(-1, tokens) / q.gather(-1, tokens))

    def simplified(self) -> Component:
        return Exact() if self.factor == 1.0 else self


plugin = Amplified
