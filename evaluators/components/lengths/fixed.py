"""Fixed length: every window is as long as the drafter allows."""

from __future__ import annotations

import torch
from torch import Tensor

from paretoken.evaluators.engine.length import Length


class Fixed(Length):
    """Always draft the whole window."""

    @property
    def constant(self) -> bool:
        return True

    def first(self, window: int) -> int:
        return window

    def following(self, length: Tensor, accepted: Tensor, window: int) -> Tensor:
        return torch.full_like(length, window)


plugin = Fixed
