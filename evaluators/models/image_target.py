"""LlamaGen as the decoding engine drives it: static cache, one position per row, guided pairs."""

from __future__ import annotations

import copy
from typing import ClassVar

import torch
from torch import Tensor

from paretoken.evaluators.models.key_value_cache import KeyValueCache
from paretoken.evaluators.models.llamagen import Transformer


class ImageTarget:
    """A transformer ready for cached decoding; see `paretoken.evaluators.engine.target.Target`.

    Guidance doubles the batch: rows 0 … B - 1 see the class, rows B … 2B - 1 the null class.
    """

    modality: ClassVar[str] = "image"
    capturable = True

    def __init__(self, model: Transformer, device: torch.device, dtype: torch.dtype) -> None:
        # A copy: the next target may want the weights in another type, and as exact as they were.
        self.model = copy.deepcopy(model).to(device, dtype).eval().requires_grad_(False)
        self.vocabulary = model.config.vocabulary
        self.length = model.config.length
        self.width = model.config.width
        self.device, self.dtype = device, dtype
        self.ends: tuple[int, ...] = ()

    def begin(self, classes: Tensor, rows: Tensor, cache: KeyValueCache) -> Tensor:
        """The class tokens [n] of classes [n]: nothing comes before them."""
        return self.vocabulary + classes.to(self.device)

    def allocate(self, batch: int, guided: bool) -> KeyValueCache:
        """A cache for `batch` rows, with as many unconditional ones behind them if guided."""
        return self.model.allocate(2 * batch if guided else batch)

    def forward(
        self, tokens: Tensor, positions: Tensor, cache: KeyValueCache, guided: bool
    ) -> tuple[Tensor, Tensor | None]:
        """Conditional and, if guided, unconditional logits [B, W, V] after tokens [B, W]."""
        key_length = None
        if self.device.type == "cpu":  # reading the positions would stop a CUDA stream
            key_length = min(cache.slots, int(positions.max()) + tokens.shape[1])
        if not guided:
            return self.model.forward_window(tokens, positions, cache, key_length), None
        null = torch.where(
            tokens >= self.vocabulary, self.vocabulary + self.model.config.classes, tokens
        )
        both = self.model.forward_window(
            torch.cat([tokens, null]), torch.cat([positions, positions]), cache, key_length
        )
        conditional, unconditional = both.chunk(2)
        return conditional, unconditional
