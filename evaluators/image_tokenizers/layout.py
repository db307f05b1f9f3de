"""Layout: what an autoregressive model has to know of a tokenizer's tokens.

Tokens are numbered within their position. Positions of one offset share entries of the model's
vocabulary; positions of different offsets (channels, stages of a residual) have entries, and so
rows of the embedding and of the output layer, of their own, and no position is ever given a
token of another's.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor


@dataclass(frozen=True)
class Layout:
    """sizes [T]: entries of every position. offsets [T]: where they begin in the vocabulary.

    height, width: the grid on which the model sees positions, T = height * width. ends: whether a
    sequence may be shorter; then the last entry says that it is over, and fills what follows.
    """

    sizes: tuple[int, ...]
    offsets: tuple[int, ...]
    height: int
    width: int
    ends: bool = False

    @classmethod
    def shared(cls, entries: int, height: int, width: int, *, ends: bool = False) -> Layout:
        """One vocabulary for every position."""
        length = height * width
        return cls((entries,) * length, (0,) * length, height, width, ends)

    @classmethod
    def stages(cls, entries: int, grids: Sequence[tuple[int, int]], shared: bool) -> Layout:
        """Whole grids one after the other; shared: whether they have one vocabulary.

        Grids of one width stand below each other, others in a line.
        """
        length = sum(height * width for height, width in grids)
        offsets = [
            0 if shared else nth * entries
            for nth, (height, width) in enumerate(grids)
            for _ in range(height * width)
        ]
        widths = {width for _, width in grids}
        wide = widths.pop() if len(widths) == 1 else length
        return cls((entries,) * length, tuple(offsets), length // wide, wide)

    @classmethod
    def channels(cls, entries: int, channels: int, height: int, width: int) -> Layout:
        """Every place of a grid holds one token for each channel, in turn."""
        length = height * width * channels
        offsets = tuple(nth % channels * entries for nth in range(length))
        return cls((entries,) * length, offsets, height, width * channels)

    @property
    def length(self) -> int:
        """Positions of one image."""
        return len(self.sizes)

    @cached_property
    def entries(self) -> int:
        """Entries of the whole vocabulary."""
        return max(offset + size for offset, size in zip(self.offsets, self.sizes, strict=True))

    @property
    def end(self) -> int:
        """The token that says that a sequence is over."""
        return self.sizes[0] - 1

    def raw_bits(self, kept: int) -> float:
        """The sum of log2 of the entries of the first positions."""
        return sum(math.log2(size) for size in self.sizes[:kept])

    def starts(self, device: torch.device) -> Tensor:
        """offsets as int64 [T]: added to tokens they are entries of the vocabulary."""
        return torch.tensor(self.offsets, device=device)

    def barred(self, device: torch.device) -> Tensor | None:
        """float32 [T, entries]: -inf where a position cannot have an entry; None where all can."""
        if len(self.groups()) == 1:
            return None
        mask = torch.full((self.length, self.entries), float("-inf"))
        for place, (offset, size) in enumerate(zip(self.offsets, self.sizes, strict=True)):
            mask[place, offset : offset + size] = 0.0
        return mask.to(device)

    def counted(self, ids: Tensor) -> Tensor:
        """bool [n, T]: which positions of ids [n, T] are paid for: the end is, what follows not."""
        if not self.ends:
            return torch.ones_like(ids, dtype=torch.bool)
        over = (ids == self.end).long()
        return (over.cumsum(1) - over) == 0

    def groups(self) -> list[tuple[int, int]]:
        """(offset, size) of each vocabulary that positions share."""
        return sorted(set(zip(self.offsets, self.sizes, strict=True)))
