"""Verifiers by threshold: a draft stands if the model itself thinks well enough of it, no dice.

What "well enough" means is measured in the model's own law at temperature 1, whatever the sampling
law is: under greedy decoding, where the latter is certain of one token, these are the rules that
can let anything else through. What follows a rejection is as under the exact rule.
"""

from __future__ import annotations

from abc import abstractmethod

from torch import Tensor

from paretoken.evaluators.engine.geometry import Geometry
from paretoken.evaluators.engine.verifier import PerToken


class Threshold(PerToken):
    """Accepts a draft if its `margin` is not negative. Lossy but for neutral knobs."""

    modality = "text"
    asks_model = True

    @abstractmethod
    def margin(self, own: Tensor, tokens: Tensor) -> Tensor:
        """By how much each of `tokens` [..., K] passes, own [..., V] being the model's law; finite
        floats [..., K], of which those below zero fail."""

    def ratio(
        self, p: Tensor, q: Tensor, tokens: Tensor, slot: Tensor, geometry: Geometry
    ) -> Tensor:
        return p.gather(-1, tokens) / q.gather(-1, tokens)

    def acceptance(
        self,
        p: Tensor,
        q: Tensor,
        tokens: Tensor,
        slot: Tensor,
        geometry: Geometry,
        own: Tensor | None = None,
    ) -> Tensor:
        assert own is not None, "the engine hands over the model's law where a rule asks for it"
        return (self.margin(own, tokens) >= 0).to(p.dtype)
