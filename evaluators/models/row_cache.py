"""A key-value cache for Hugging Face models whose rows stand at positions of their own.

Keys and values lie in tensors of fixed size, and a window is written where each row stands. Rolling
back is standing further left: what lies behind is not looked at, and written over later, so nothing
is ever cropped. A tree lies slot by slot, and the path of it that stands is moved to where a chain
would have been. Layers that were never run hold nothing.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from transformers.cache_utils import Cache

from paretoken.evaluators.engine.tree import Tree


class RowCache(Cache):  # type: ignore[misc]  # transformers is looked at without its types
    """Keys and values of B rows of up to `slots` tokens; `point` says where the next ones go.

    offset: [B] int64, the place of each row's pending token before its first sample token. states:
    [B, slots, D] of the same tokens, where somebody asked for them.
    """

    def __init__(self, rows: int, slots: int, device: torch.device) -> None:
        super().__init__(layers=[])
        self.slots = slots
        self.offset = torch.zeros(rows, dtype=torch.int64, device=device)
        self.states: Tensor | None = None
        self._rows = rows
        self._reach = 0  # places that any forward looked at
        self._kept: dict[int, tuple[Tensor, Tensor]] = {}

    def point(self, rows: Tensor | None, places: Tensor, length: int) -> None:
        """Aim the next forward: rows [b] of the cache (None: all), places [b, W] to write to, and
        how many places any of them looks at."""
        self._at, self._places, self._length = rows, places, length
        self._reach = max(self._reach, length)

    def mask(self, dtype: torch.dtype) -> Tensor:
        """What may be looked at from the places aimed at, additive [b, 1, W, length]."""
        keys = torch.arange(self._length, device=self._places.device)
        hidden = keys > self._places.unsqueeze(-1)
        nothing = torch.zeros(hidden.shape, dtype=dtype, device=hidden.device)
        return nothing.masked_fill(hidden, torch.finfo(dtype).min).unsqueeze(1)

    def tree_mask(self, start: Tensor, tree: Tree, dtype: torch.dtype) -> Tensor:
        """As `mask`, for slots of a tree whose pending token is at start [b]: of the tree, those on
        the way are looked at."""
        keys = torch.arange(self._length, device=start.device)
        slot = keys - start.unsqueeze(-1)  # [b, length]
        slots = tree.sees.shape[1]
        on_the_way = tree.sees[:, slot.clamp(0, slots - 1)].transpose(0, 1)  # [b, W, length]
        seen = (slot < 0).unsqueeze(1) | (on_the_way & (slot < slots).unsqueeze(1))
        nothing = torch.zeros(seen.shape, dtype=dtype, device=seen.device)
        return nothing.masked_fill(~seen, torch.finfo(dtype).min).unsqueeze(1)

    def move(self, first: Tensor, path: Tensor) -> None:
        """Keys and values at first [B] + path [B, n] go to first, first + 1, … of their rows."""
        rows = torch.arange(self._rows, device=path.device).unsqueeze(-1)
        begin = first.unsqueeze(-1)
        to = begin + torch.arange(path.shape[1], device=path.device)
        for kept in self._kept.values():
            for whole in kept:
                whole[rows, :, to] = whole[rows, :, begin + path]

    def update(
        self, keys: Tensor, values: Tensor, layer_idx: int, *args: Any, **kwargs: Any
    ) -> tuple[Tensor, Tensor]:
        """Write keys and values [b, H, W, D] of a layer; returns all that the mask is about."""
        if layer_idx not in self._kept:
            size = (self._rows, keys.shape[1], self.slots)
            self._kept[layer_idx] = (
                keys.new_zeros(*size, keys.shape[-1]),
                values.new_zeros(*size, values.shape[-1]),
            )
        kept = self._kept[layer_idx]
        every = torch.arange(self._rows, device=keys.device) if self._at is None else self._at
        for whole, new in zip(kept, (keys, values), strict=True):
            whole[every.unsqueeze(-1), :, self._places] = new.transpose(1, 2)
        seen = (whole[:, :, : self._length] for whole in kept)
        first, second = seen if self._at is None else (part[self._at] for part in seen)
        return first, second

    def take(self, rows: Tensor) -> None:
        """Let every row go on from a copy of the one named, [B]."""
        self.offset.copy_(self.offset[rows])
        for whole in (part for pair in self._kept.values() for part in pair):
            whole[:, :, : self._reach] = whole[rows, :, : self._reach]

    def get_seq_length(self, layer_idx: int = 0) -> int:
        """Places before the window, where all rows stand alike: positions are always given."""
        return self._length - self._places.shape[1]
