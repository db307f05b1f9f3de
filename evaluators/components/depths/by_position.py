"""Layers by position: the further the answer, the fewer layers run, all rows and drafts alike.

The first layers always run; what a token saves, it saves right above them, so that the last layers
run as well. The number falls in a straight line from the first token of an answer to `horizon`. As
it never rises, every layer that runs has the keys of all earlier tokens, and nothing is recomputed.
The paper tunes models for the schedule; one that was not falls off quickly. With a rank a LoRA is
learnt for it, on the model's own answers.
Equivalences: first = last = 1 leaves out nothing; first = last is a fixed set of layers; a last
above first is first.
Source: Del Corro et al., "SkipDecode" (2023, arXiv:2307.02628).
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from paretoken.evaluators.engine.depth import Recovering
from paretoken.spaces.component import Component, knob


class ByPosition(Recovering):
    """Spend less on later tokens."""

    first: float = knob(
        1.0, low=0.0, high=1.0, grid=(0.9, 1.0), doc="Share of layers for the first token."
    )
    last: float = knob(
        0.8, low=0.0, high=1.0, grid=(0.5, 0.7, 0.8, 0.9), doc="Share of layers in the end."
    )
    warm_up: int = knob(1, low=0, high=64, grid=(1, 4, 16), doc="First layers that always run.")
    horizon: int = knob(
        0, low=0, high=65536, grid=(0,),
        doc="Tokens of an answer after which the number stays; 0: those that it may have.",
    )  # fmt: skip

    @property
    def whole(self) -> bool:
        return bool(self.first == 1.0 and self.last == 1.0 and not self.rank)

    def kept(self, target: Any) -> Tensor:
        budget = self.budget(target.layers, target.length)
        every = torch.arange(target.layers)
        above = (target.layers - (budget - int(self.warm_up))).unsqueeze(-1)
        kept: Tensor = (every < int(self.warm_up)) | (every >= above)
        return kept.unsqueeze(0)

    def without(self, target: Any) -> Tensor:
        return self.kept(target)

    def budget(self, layers: int, length: int) -> Tensor:
        """Layers that run while the prompt is read and for each token, int64 [1 + length]."""
        fewest = min(layers, int(self.warm_up) + 1)  # the last layer always runs, too
        most = max(fewest, round(self.first * layers))
        least = min(most, max(fewest, round(self.last * layers)))
        end = int(self.horizon) or length
        way = torch.arange(length, dtype=torch.float64).div(max(1, end - 1)).clamp(max=1.0)
        falling = (most - (most - least) * way).round().long()
        return torch.cat([torch.tensor([most]), falling])

    def simplified(self) -> Component:
        if self.last <= self.first:
            return super().simplified()
        simpler: Component = self.clone(override={"last": self.first})
        return simpler


plugin = ByPosition
