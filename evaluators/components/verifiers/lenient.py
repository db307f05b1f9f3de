"""Lenience: a draft stands if it is at least `lenience` times as likely as the model's favourite.

This is lenience for greedy decoding, and the same rule as `top_beta` with all tokens and
tau = -ln lenience, which it becomes. Under sampling the rule of that name is r <= p/(l q): that is
`amplified` with factor 1/l.
Source: Leviathan, Kalman and Matias (2023, arXiv:2211.17192), appendix.
"""

from __future__ import annotations

import math

from torch import Tensor

from paretoken.evaluators.components.verifiers.top_beta import TopBeta
from paretoken.evaluators.engine.threshold import Threshold
from paretoken.spaces.component import Component, knob


class Lenient(Threshold):
    """Be lenient with drafts that the model likes somewhat less than its best."""

    lenience: float = knob(
        0.5, low=1e-6, high=1.0, grid=(0.1, 0.3, 0.5, 0.8), doc="Share of the best's probability."
    )

    def margin(self, own: Tensor, tokens: Tensor) -> Tensor:
        return own.gather(-1, tokens) - self.lenience * own.amax(-1, keepdim=True)

    def simplified(self) -> Component:
        return TopBeta(beta=0, tau=-math.log(self.lenience))


plugin = Lenient
