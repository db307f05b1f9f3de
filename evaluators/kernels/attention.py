"""Attention of a window over a cache in which every row has a position of its own.

A program reads its row's position and stops there: what lies beyond is never loaded, so that early
tokens of a sample cost less than late ones, without a capture for every length.
Source: the running softmax of FlashAttention (Dao et al. 2022, arXiv:2205.14135).
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor


@triton.jit
def _attend(
    q, keys, values, positions, out, W, scale,
    HEADS: tl.constexpr, SLOTS: tl.constexpr, HD: tl.constexpr, BD: tl.constexpr,
    BW: tl.constexpr, BK: tl.constexpr,
):  # fmt: skip
    row, head = tl.program_id(0) // HEADS, tl.program_id(0) % HEADS
    first = tl.program_id(1) * BW
    w = first + tl.arange(0, BW)
    d = tl.arange(0, BD)
    position = tl.load(positions + row)
    line = ((row.to(tl.int64) * W + w[:, None]) * HEADS + head) * HD + d[None, :]
    own = (w[:, None] < W) & (d[None, :] < HD)
    query = tl.load(q + line, mask=own, other=0.0)
    end = tl.minimum(position + tl.minimum(first + BW, W), SLOTS)
    base = (row.to(tl.int64) * HEADS + head) * SLOTS * HD
    most = tl.full((BW,), float("-inf"), tl.float32)
    mass = tl.zeros((BW,), tl.float32)
    total = tl.zeros((BW, BD), tl.float32)
    for start in range(0, end, BK):
        n = start + tl.arange(0, BK)
        k = tl.load(
            keys + base + n[None, :] * HD + d[:, None],
            mask=(n[None, :] < end) & (d[:, None] < HD), other=0.0,
        )  # fmt: skip
        # Base 2 throughout: scale holds log2(e).
        score = tl.dot(query, k, input_precision="ieee") * scale
        score = tl.where(n[None, :] <= position + w[:, None], score, float("-inf"))
        higher = tl.maximum(most, tl.max(score, 1))
        shrink = tl.exp2(most - higher)
        weight = tl.exp2(score - higher[:, None])
        mass = mass * shrink + tl.sum(weight, 1)
        v = tl.load(
            values + base + n[:, None] * HD + d[None, :],
            mask=(n[:, None] < end) & (d[None, :] < HD), other=0.0,
        )  # fmt: skip
        total = tl.dot(weight.to(v.dtype), v, total * shrink[:, None], input_precision="ieee")
        most = higher
    tl.store(out + line, (total / mass[:, None]).to(out.dtype.element_ty), mask=own)


def attend(q: Tensor, layer: Tensor, positions: Tensor, window: int) -> Tensor:
    """What queries [M, heads, head_dim] read in the cache of one layer: [M, heads * head_dim].

    layer: [2, R or more, heads, slots, head_dim], the window's own keys and values included.
    positions: [R], where each row's window of `window` tokens starts, M = R * window.
    """
    rows, heads, head_dim = q.shape
    slots = layer.shape[3]
    out = torch.empty(rows, heads * head_dim, device=q.device, dtype=q.dtype)
    block = 16 if window <= 16 else 32
    _attend[(rows // window * heads, triton.cdiv(window, block))](
        q, layer[0], layer[1], positions, out, window, head_dim**-0.5 * 1.4426950408889634,
        heads, slots, head_dim, max(16, triton.next_power_of_2(head_dim)), block,
        64 if rows > 256 else 128, num_warps=4, num_stages=2,
    )  # fmt: skip
    return out
