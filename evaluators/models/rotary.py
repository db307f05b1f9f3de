"""Two-dimensional rotary positions, as LlamaGen's checkpoints need them.

Half of a head's pairs turn with the row of a token, the other half with its column, and pairs are
adjacent numbers. The class token's factors are all zero (cos = sin = 0, not the identity), so its
query and key vanish: every token sees it with attention logit 0, and it speaks through its value
alone. With the identity there the official checkpoints would not be reproduced.
Source: Su et al., RoFormer (2021, arXiv:2104.09864); Sun et al. (2024, arXiv:2406.06525).
"""

from __future__ import annotations

import torch
from torch import Tensor


def rotary_table(height: int, width: int, slots: int, head_dim: int, base: float) -> Tensor:
    """Factors [slots, 2, head_dim] float64 of a vector and of its swapped pairs, for `rotate`.

    First the class token's zero row, then the grid in raster order, then zeros: nothing that is
    read depends on the rest. Made on the CPU, whatever the default device (it may be "meta").
    """
    quarter, length = head_dim // 4, height * width
    with torch.device("cpu"):
        frequency = base ** (-torch.arange(quarter, dtype=torch.float64) / quarter)
        place = torch.arange(length).unsqueeze(1)
        angle = torch.cat([place // width * frequency, place % width * frequency], dim=1)
        cos, sin = angle.cos(), angle.sin()
        table = torch.zeros(slots, 2, head_dim, dtype=torch.float64)
        table[1 : 1 + length, 0] = torch.stack([cos, cos], dim=2).flatten(1)
        table[1 : 1 + length, 1] = torch.stack([-sin, sin], dim=2).flatten(1)
    return table


def rotate(x: Tensor, factors: Tensor) -> Tensor:
    """Turn adjacent pairs of the last axis of x [..., D]; factors: like [..., 2, D].

    Computed in the wider of the two types, returned in that of x.
    """
    own, swapped = factors.unbind(-2)
    pairs = x.reshape(*x.shape[:-1], -1, 2)
    turned = x * own + pairs.flip(-1).flatten(-2) * swapped
    return turned.to(x.dtype)
