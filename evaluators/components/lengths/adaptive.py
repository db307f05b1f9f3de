"""Adaptive length: longer after a window kept whole, shorter after a rejection.

Source: the `heuristic` schedule of assisted generation in Hugging Face transformers (+2 / -1).
"""

from __future__ import annotations

import torch
from torch import Tensor

from paretoken.evaluators.engine.length import Length
from paretoken.spaces.component import knob


class Adaptive(Length):
    """Follow the recent luck of each row."""

    grow: int = knob(2, low=1, high=16, grid=(1, 2, 4), doc="Tokens added when all were kept.")
    shrink: int = knob(1, low=1, high=16, grid=(1, 2), doc="Tokens taken off after a rejection.")
    least: int = knob(2, low=2, high=16, grid=(2, 4), doc="Never shorter than this.")

    def first(self, window: int) -> int:
        return min(window, max(self.least, window // 2))

    def following(self, length: Tensor, accepted: Tensor, window: int) -> Tensor:
        whole = accepted >= length - 1
        wanted = torch.where(whole, length + self.grow, length - self.shrink)
        return wanted.clamp(min(self.least, window), window)

    def longest(self, length: int, window: int) -> int:
        return min(window, max(length + self.grow, self.least))


plugin = Adaptive
