"""Sampling rules: from the target's logits to the law that its tokens are drawn from."""

from __future__ import annotations

from abc import abstractmethod

from torch import Tensor

from paretoken.spaces.component import Component


class Sampling(Component):
    """Defines the target law p; every lossless decoder of one sampling rule emits this law."""

    kind = "samplings"

    @property
    def guided(self) -> bool:
        """Whether unconditional logits are needed at all."""
        return False

    @property
    def certain(self) -> bool:
        """Whether every law is certain of one token (greedy decoding), so that chance is idle."""
        return False

    def guided_at(self, index: int) -> bool:
        """Whether they are still needed for tokens of this index and later."""
        return self.guided

    @abstractmethod
    def laws(self, conditional: Tensor, unconditional: Tensor | None, index: Tensor) -> Tensor:
        """conditional, unconditional: [B, W, V] logits, float32 or wider; index: [B, W], which
        token of the sample each predicts. Returns laws [B, W, V]; NaN logits stay NaN."""
