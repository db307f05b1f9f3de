"""Streams: B prompts with R rows of the target's cache each, which all advance in step."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


class Streams:
    """A prompt is read once, whatever its rows, which part ways from there.

    target: a `paretoken.evaluators.models.text_target.TextTarget`. broken: [], true once logits
    were no numbers.
    """

    def __init__(self, target: Any, prompts: int, rows: int) -> None:
        self.target, self.prompts, self.rows = target, prompts, rows
        device = target.device
        self._cache = target.allocate(prompts * rows, False)
        self._first = torch.arange(prompts, device=device) * rows
        self._positions = torch.zeros(prompts * rows, dtype=torch.int64, device=device)
        self.broken = torch.zeros((), dtype=torch.bool, device=device)
        self.ends = torch.tensor(target.ends, dtype=torch.int64, device=device)

    def start(self, prompts: Tensor) -> Tensor:
        """Read prompts [B]; returns the last token of each, [B], which is not fed yet."""
        pending: Tensor = self.target.begin(prompts, self._first, self._cache)
        self._positions.zero_()
        self.broken.zero_()
        if self.rows > 1:
            self._cache.take(self._first.repeat_interleave(self.rows))
        return pending

    def forward(self, fed: Tensor) -> Tensor:
        """Logits [B, R, V] after one more token, or embedding, of each row: [B, R] or [B, R, D]."""
        window = fed.flatten(0, 1).unsqueeze(1)
        logits, _ = self.target.forward(window, self._positions, self._cache, False)
        self._positions += 1
        self.broken |= logits[..., 0].isnan().any()
        found: Tensor = logits.view(self.prompts, self.rows, -1)
        return found

    def take(self, parents: Tensor) -> None:
        """Let every row of a prompt go on from the one named, [B, R]."""
        self._cache.take((self._first.unsqueeze(-1) + parents).flatten())

    def embedded(self, tokens: Tensor) -> Tensor:
        """The input embeddings [..., D] of tokens [...], as the model scales them."""
        found: Tensor = self.target.model.get_input_embeddings()(tokens)
        return found
