"""Annealed acceptance: min(1, w_i * p/q) with w_i = delta * exp(-nu * i) at draft slot i = 0, 1, …

Relaxing early slots costs less bias than late ones. Where w_i < 1 the test is stricter than the
exact one, so the residual matters there. Equivalences: delta = 1 with nu = 0 is exact.
Source: Cool-SD (2026, arXiv:2601.09212), with its offset mu folded into delta.
"""

from __future__ import annotations

from torch import Tensor

from paretoken.evaluators.components.verifiers.amplified import Amplified
from paretoken.evaluators.engine.geometry import Geometry
from paretoken.evaluators.engine.verifier import PerToken
from paretoken.spaces.component import Component, knob


class Annealed(PerToken):
    """Keep drafts more readily at the window's start than at its end."""

    delta: float = knob(
        1.5, low=1.0, high=16.0, grid=(1.1, 1.5, 2.0, 4.0), doc="Relaxation of the first slot."
    )
    nu: float = knob(
        0.7, low=0.0, high=4.0, grid=(0.0, 0.1, 0.3, 0.7), doc="How fast it fades, per slot."
    )

    @property
    def relaxes_only(self) -> bool:
        return bool(self.nu == 0.0)

    def ratio(
        self, p: Tensor, q: Tensor, tokens: Tensor, slot: Tensor, geometry: Geometry
    ) -> Tensor:
        weight = self.delta * (-self.nu * slot.to(p.dtype)).exp()
        return weight * (p.gather(-1, tokens) / q.gather(-1, tokens))

    def simplified(self) -> Component:
        return Amplified(factor=self.delta) if self.nu == 0.0 else self


plugin = Annealed
