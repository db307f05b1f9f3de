"""Typical acceptance: a draft stands if it is not unlikely for how unsure the model is.

Accepted if p(x) > min(epsilon, delta * exp(-H(p))) with the model's own law p and its entropy H in
nats: a sure model has to like the draft, an unsure one takes most. The token after the drafts
follows the sampling law (greedy in the paper). There is no neutral setting but under greedy
decoding with epsilon near 1.
Source: Cai et al., "Medusa" (ICML 2024, arXiv:2401.10774): epsilon 0.09, delta 0.3.
"""

from __future__ import annotations

import torch
from torch import Tensor

from paretoken.evaluators.engine.threshold import Threshold
from paretoken.spaces.component import knob


class Typical(Threshold):
    """Keep what is typical of the model at this place."""

    epsilon: float = knob(
        0.09, low=0.0, high=1.0, grid=(0.03, 0.09, 0.2, 0.4), doc="Likely enough anywhere."
    )
    delta: float = knob(
        0.3, low=0.0, high=1.0, grid=(0.1, 0.3, 0.6), doc="Likely enough, times exp(-entropy)."
    )

    def margin(self, own: Tensor, tokens: Tensor) -> Tensor:
        entropy = torch.special.entr(own).sum(-1, keepdim=True)
        least: Tensor = (self.delta * (-entropy).exp()).clamp(max=self.epsilon)
        return own.gather(-1, tokens) - least


plugin = Typical
