"""Matrix products with what stands around them in a transformer, one launch each.

A root-mean-square norm in front scales whole rows, so it is applied behind the product: the sum of
squares is taken in the same pass over the row. The residual stream stays in float32.
"""

from __future__ import annotations

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor


def tiles(rows: int, inner: int, normed: bool) -> dict[str, Any]:
    """Block sizes and launch options for a product of `rows` rows over `inner` columns.

    Few rows: narrow blocks, so that many multiprocessors read the weights side by side. Chosen on
    an H100 by timing (rows 1, 32, 128, 256, 512, 1,024 and 16,384 of the fashion model).
    """
    if rows <= 64:
        return {
            "BM": 16, "BN": 16, "BK": 64, "num_warps": 2 if inner <= 512 else 4, "num_stages": 5,
        }  # fmt: skip
    if rows <= 128:
        return {"BM": 32, "BN": 32, "BK": 64, "num_warps": 4, "num_stages": 4}
    if rows <= 256 or (rows <= 512 and not normed):
        return {"BM": 64, "BN": 32, "BK": 64, "num_warps": 4, "num_stages": 4}
    if rows <= 2048:
        return {"BM": 64, "BN": 64, "BK": 64, "num_warps": 4, "num_stages": 3}
    if normed:
        return {"BM": 64, "BN": 128, "BK": 32, "num_warps": 4, "num_stages": 4}
    return {"BM": 128, "BN": 64, "BK": 64, "num_warps": 8, "num_stages": 3}


@triton.jit
def _embed(table, tokens, out, D: tl.constexpr, BD: tl.constexpr):
    row = tl.program_id(0)
    token = tl.load(tokens + row)
    d = tl.arange(0, BD)
    values = tl.load(table + token * D + d, mask=d < D, other=0.0)
    tl.store(out + row * D + d, values.to(tl.float32), mask=d < D)


@triton.jit
def _normed(x, norm, m, k, M, K: tl.constexpr):
    """A block of rows times the norm's weights, and its squares: summed once, after the loop."""
    inside = (m[:, None] < M) & (k[None, :] < K)
    block = tl.load(x + m[:, None].to(tl.int64) * K + k[None, :], mask=inside, other=0.0)
    weight = tl.load(norm + k, mask=k < K, other=0.0).to(tl.float32)
    return block * weight[None, :], block * block


@triton.jit
def _weights(w, n, k, N, K: tl.constexpr):
    """w[n, k] of a matrix [N, K], turned for a product: [BK, BN]."""
    inside = (n[None, :] < N) & (k[:, None] < K)
    return tl.load(w + n[None, :] * K + k[:, None], mask=inside, other=0.0)


@triton.jit
def _project(
    x, norm, w, rotary, positions, q, keys, values, M, W, eps,
    HEADS: tl.constexpr, SLOTS: tl.constexpr, HD: tl.constexpr, K: tl.constexpr,
    BM: tl.constexpr, BN: tl.constexpr, BK: tl.constexpr,
):  # fmt: skip
    """Queries, keys or values of one head, pairs of them rotated; the latter two are cached."""
    part, head = tl.program_id(1) // HEADS, tl.program_id(1) % HEADS
    m = tl.program_id(0) * BM + tl.arange(0, BM)
    n = tl.program_id(2) * BN + tl.arange(0, BN)
    pair = tl.program_id(2) * (BN // 2) + tl.arange(0, BN // 2)
    row = m // W
    place = tl.load(positions + row, mask=m < M, other=0) + m % W
    # Loaded before the product, which hides their way from memory; values are not turned. A pair
    # turns by one angle, so that the table holds everything twice.
    factor = rotary + place[:, None] * (2 * HD) + pair[None, :] * 2
    turned = (m[:, None] < M) & (pair[None, :] * 2 < HD) & (part < 2)
    cosine = tl.load(factor, mask=turned, other=1.0)
    sine = tl.load(factor + HD + 1, mask=turned, other=0.0)
    total = tl.zeros((BM, BN), tl.float32)
    squares = tl.zeros((BM, BK), tl.float32)
    own = tl.where(n < HD, (part * HEADS + head) * HD + n, 3 * HEADS * HD)
    for k0 in range(0, K, BK):
        k = k0 + tl.arange(0, BK)
        block, square = _normed(x, norm, m, k, M, K)
        squares += square
        block = block.to(w.dtype.element_ty)
        total = tl.dot(block, _weights(w, own, k, 3 * HEADS * HD, K), total, input_precision="ieee")
    total = total * tl.rsqrt(tl.sum(squares, 1) / K + eps)[:, None]
    first, second = tl.split(tl.reshape(total, (BM, BN // 2, 2)))
    first, second = first * cosine - second * sine, second * cosine + first * sine
    total = tl.reshape(tl.join(first, second), (BM, BN))
    if part == 0:
        line = m.to(tl.int64) * HEADS + head
    else:
        line = (row.to(tl.int64) * HEADS + head) * SLOTS + place
    out = q if part == 0 else (keys if part == 1 else values)
    inside = (m[:, None] < M) & (n[None, :] < HD)
    tl.store(out + line[:, None] * HD + n[None, :], total.to(q.dtype.element_ty), mask=inside)


@triton.jit
def _accumulate(
    a, w, x, M, N: tl.constexpr, K: tl.constexpr,
    BM: tl.constexpr, BN: tl.constexpr, BK: tl.constexpr,
):  # fmt: skip
    m = tl.program_id(0) * BM + tl.arange(0, BM)
    n = tl.program_id(1) * BN + tl.arange(0, BN)
    inside = (m[:, None] < M) & (n[None, :] < N)
    out = x + m[:, None].to(tl.int64) * N + n[None, :]
    total = tl.load(out, mask=inside, other=0.0)
    for k0 in range(0, K, BK):
        k = k0 + tl.arange(0, BK)
        there = (m[:, None] < M) & (k[None, :] < K)
        block = tl.load(a + m[:, None].to(tl.int64) * K + k[None, :], mask=there, other=0.0)
        total = tl.dot(block, _weights(w, n, k, N, K), total, input_precision="ieee")
    tl.store(out, total, mask=inside)


@triton.jit
def _gate(
    x, norm, w1, w3, out, M, eps, N: tl.constexpr, K: tl.constexpr,
    BM: tl.constexpr, BN: tl.constexpr, BK: tl.constexpr,
):  # fmt: skip
    m = tl.program_id(0) * BM + tl.arange(0, BM)
    n = tl.program_id(1) * BN + tl.arange(0, BN)
    gate = tl.zeros((BM, BN), tl.float32)
    up = tl.zeros((BM, BN), tl.float32)
    squares = tl.zeros((BM, BK), tl.float32)
    for k0 in range(0, K, BK):
        k = k0 + tl.arange(0, BK)
        block, square = _normed(x, norm, m, k, M, K)
        squares += square
        block = block.to(w1.dtype.element_ty)
        gate = tl.dot(block, _weights(w1, n, k, N, K), gate, input_precision="ieee")
        up = tl.dot(block, _weights(w3, n, k, N, K), up, input_precision="ieee")
    scale = tl.rsqrt(tl.sum(squares, 1) / K + eps)[:, None]
    gate, up = gate * scale, up * scale
    inside = (m[:, None] < M) & (n[None, :] < N)
    hidden = gate / (1.0 + tl.exp(-gate)) * up
    place = out + m[:, None].to(tl.int64) * N + n[None, :]
    tl.store(place, hidden.to(out.dtype.element_ty), mask=inside)


@triton.jit
def _normed_product(
    x, norm, w, out, M, eps, N: tl.constexpr, K: tl.constexpr,
    BM: tl.constexpr, BN: tl.constexpr, BK: tl.constexpr,
):  # fmt: skip
    m = tl.program_id(0) * BM + tl.arange(0, BM)
    n = tl.program_id(1) * BN + tl.arange(0, BN)
    total = tl.zeros((BM, BN), tl.float32)
    squares = tl.zeros((BM, BK), tl.float32)
    for k0 in range(0, K, BK):
        k = k0 + tl.arange(0, BK)
        block, square = _normed(x, norm, m, k, M, K)
        squares += square
        block = block.to(w.dtype.element_ty)
        total = tl.dot(block, _weights(w, n, k, N, K), total, input_precision="ieee")
    total = total * tl.rsqrt(tl.sum(squares, 1) / K + eps)[:, None]
    inside = (m[:, None] < M) & (n[None, :] < N)
    tl.store(out + m[:, None].to(tl.int64) * N + n[None, :], total, mask=inside)


def embed(table: Tensor, tokens: Tensor) -> Tensor:
    """Rows of table [n, D] for tokens [M]: [M, D] float32."""
    rows, dim = tokens.numel(), table.shape[1]
    out = torch.empty(rows, dim, device=table.device)
    _embed[(rows,)](table, tokens, out, dim, triton.next_power_of_2(dim), num_warps=2)
    return out


def project(
    x: Tensor, norm: Tensor, weight: Tensor, eps: float, rotary: Tensor, positions: Tensor,
    layer: Tensor, window: int,
) -> Tensor:  # fmt: skip
    """Rotated queries [M, heads, head_dim] of normed x [M, D]; keys and values go into the cache.

    weight: [3 D, D], queries, keys and values. rotary: [slots, 2, head_dim] float32. positions:
    [R], where each row's window of `window` tokens starts, M = R * window. layer: the cache of one
    layer, [2, R or more, heads, slots, head_dim].
    """
    rows, dim = x.shape
    heads, slots, head_dim = layer.shape[2:]
    q = torch.empty(rows, heads, head_dim, device=x.device, dtype=layer.dtype)
    sizes = tiles(rows, dim, normed=True)
    sizes["BN"] = min(sizes["BN"], triton.next_power_of_2(head_dim))
    grid = (triton.cdiv(rows, sizes["BM"]), 3 * heads, triton.cdiv(head_dim, sizes["BN"]))
    _project[grid](
        x, norm, weight, rotary, positions, q, layer[0], layer[1], rows, window, eps,
        heads, slots, head_dim, dim, **sizes,
    )  # fmt: skip
    return q


def accumulate(a: Tensor, weight: Tensor, x: Tensor) -> None:
    """x [M, N] += a [M, K] @ weight [N, K]^T, in place; x is float32."""
    (rows, inner), columns = a.shape, weight.shape[0]
    sizes = tiles(rows, inner, normed=False)
    grid = (triton.cdiv(rows, sizes["BM"]), triton.cdiv(columns, sizes["BN"]))
    _accumulate[grid](a, weight, x, rows, columns, inner, **sizes)


def gate(x: Tensor, norm: Tensor, w1: Tensor, w3: Tensor, eps: float) -> Tensor:
    """silu(n w1^T) * (n w3^T) of normed x [M, D]: [M, H] in the weights' type."""
    (rows, dim), columns = x.shape, w1.shape[0]
    out = torch.empty(rows, columns, device=x.device, dtype=w1.dtype)
    sizes = tiles(rows, dim, normed=True)
    grid = (triton.cdiv(rows, sizes["BM"]), triton.cdiv(columns, sizes["BN"]))
    _gate[grid](x, norm, w1, w3, out, rows, eps, columns, dim, **sizes)
    return out


def normed_product(x: Tensor, norm: Tensor, weight: Tensor, eps: float) -> Tensor:
    """Normed x [M, D] times weight [N, D]^T: [M, N] float32."""
    (rows, dim), columns = x.shape, weight.shape[0]
    out = torch.empty(rows, columns, device=x.device)
    sizes = tiles(rows, dim, normed=True)
    grid = (triton.cdiv(rows, sizes["BM"]), triton.cdiv(columns, sizes["BN"]))
    _normed_product[grid](x, norm, weight, out, rows, eps, columns, dim, **sizes)
    return out
