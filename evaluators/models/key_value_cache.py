"""Keys and values of decoded tokens, with a position of its own for every row.

Rolling back is moving a position back: what lies beyond it is masked, and overwritten before it
can be seen again. Nothing here asks the device anything, and shapes depend on none of its values.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor
from torch.nn import functional

# Queries, keys and values [B, heads, T, head_dim] to what the heads read, of the same shape.
Attend = Callable[[Tensor, Tensor, Tensor], Tensor]


class KeyValueCache:
    """R rows of S slots, for every layer keys and values [R, heads, S, head_dim].

    layers: [layers, 2, R, heads, S, head_dim]. table: [V + classes + 1, D], embeddings of the image
    tokens and then of the class tokens; its type and device are the cache's. classes: [R] int64,
    what each row shows, kept by models that depend on it in more than their first token.
    """

    def __init__(
        self, layers: int, rows: int, heads: int, slots: int, head_dim: int, table: Tensor
    ) -> None:
        self.slots, self.table = slots, table
        shape = (layers, 2, rows, heads, slots, head_dim)
        self.layers = torch.zeros(shape, device=table.device, dtype=table.dtype)
        self.classes = torch.zeros(rows, dtype=torch.int64, device=table.device)
        self._rows = torch.arange(rows, device=table.device).unsqueeze(1)
        self._slots = torch.arange(slots, device=table.device)

    def window(self, place: Tensor, key_length: int | None) -> list[Attend]:
        """The attention of every layer for windows at sequence positions place [R, W].

        It first stores the window's keys and values; a query then reads what lies at or before its
        own position. R may be less than the cache's rows: the first R are used. key_length: how
        many slots are read at most, all by default.
        """
        rows, read = len(place), self.slots if key_length is None else key_length
        # Once as numbers: a boolean mask would be turned into them again in every layer.
        later = self._slots[:read] > place.unsqueeze(2)
        mask = torch.zeros(later.shape, dtype=self.table.dtype, device=self.table.device)
        mask = mask.masked_fill_(later, float("-inf")).unsqueeze(1)
        index = (self._rows[:rows], slice(None), place)
        return [partial(_attend, layer[:, :rows], index, mask) for layer in self.layers]


def _attend(
    layer: Tensor,
    index: tuple[Tensor, slice, Tensor],
    mask: Tensor,
    q: Tensor,
    k: Tensor,
    v: Tensor,
) -> Tensor:
    """layer: [2, R, heads, S, head_dim]; mask: [R, 1, W, slots read]; q, k, v: as for `Attend`."""
    keys, values = layer.unbind(0)
    keys[index] = k.transpose(1, 2)
    values[index] = v.transpose(1, 2)
    read = mask.shape[-1]
    return functional.scaled_dot_product_attention(
        q, keys[:, :, :read], values[:, :, :read], attn_mask=mask
    )
