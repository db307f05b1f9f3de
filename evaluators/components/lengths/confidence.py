"""Confidence stop: draft until the drafting model is unsure of the token it drafted.

That token is checked all the same. It asks drafters that have a law of their own (a small model,
early layers); drafts that are looked up have none, and are not stopped. Lossless: the decision
rests on nothing that comes later.
Source: assisted generation in Hugging Face transformers, `assistant_confidence_threshold`.
"""

from __future__ import annotations

from torch import Tensor

from paretoken.evaluators.components.lengths.fixed import Fixed
from paretoken.spaces.component import Component, knob


class Confidence(Fixed):
    """Stop when the drafted token's probability falls below a threshold."""

    modality = "text"
    asks_law = True

    least: float = knob(
        0.4, low=0.0, high=1.0, grid=(0.2, 0.4, 0.6, 0.8), doc="Probability that goes on."
    )

    def goes_on(self, law: Tensor, token: Tensor) -> Tensor | None:
        return law.gather(-1, token.unsqueeze(-1)).squeeze(-1).ge(self.least)

    def simplified(self) -> Component:
        return Fixed() if self.least == 0.0 else self


plugin = Confidence
