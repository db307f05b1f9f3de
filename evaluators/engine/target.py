"""Target: the model whose law the decoder is to follow, as the engine sees it."""

from __future__ import annotations

from typing import Any, Protocol

import torch
from torch import Tensor


class Target(Protocol):
    """An autoregressive model with a static cache and a position for every row.

    A sample has `length` tokens over `vocabulary` values on a grid `width` columns wide. The token
    before the first one is the condition (`begin`). Rolling back is moving the position back.
    """

    vocabulary: int
    length: int
    width: int
    device: torch.device

    def begin(self, classes: Tensor) -> Tensor:
        """The pending token before the first one: [B] classes -> [B] ids, all >= vocabulary."""

    def allocate(self, batch: int, guided: bool) -> Any:
        """A cache for `batch` rows (twice as many inside if guided)."""

    def forward(
        self, tokens: Tensor, positions: Tensor, cache: Any, guided: bool
    ) -> tuple[Tensor, Tensor | None]:
        """Logits after each of W tokens fed at positions, positions + 1, …

        tokens: [B, W], positions: [B]. Returns conditional and (if guided) unconditional logits
        [B, W, V] in float32 or wider. Only positions up to a row's own are read.
        """
