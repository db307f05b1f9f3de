"""What a per-token verifier does around its likelihood ratio."""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor


@triton.jit
def _clip(ratio, p, tokens, out, n, depth, V, p_row, p_slot, B: tl.constexpr):
    i = tl.program_id(0) * B + tl.arange(0, B)
    inside = i < n
    value = tl.load(ratio + i, mask=inside, other=0.0)
    place = (i // depth).to(tl.int64) * p_row + (i % depth) * p_slot
    allowed = tl.load(p + place + tl.load(tokens + i, mask=inside, other=0), mask=inside, other=0.0)
    # NaN compares false: 0 / 0 is no reason to keep anything.
    value = tl.where((allowed > 0) & (value > 0), tl.minimum(value, 1.0), 0.0)
    tl.store(out + i, value, mask=inside)


@triton.jit
def _keep(
    a, chance, valid, laws, q, accepted, rejected, p_last, q_last, after, W, q_row, valid_row,
    D: tl.constexpr, BD: tl.constexpr, V: tl.constexpr, BV: tl.constexpr,
):  # fmt: skip
    row = tl.program_id(0).to(tl.int64)
    slot = tl.arange(0, BD)
    there = slot < D
    counts = tl.load(valid + row * valid_row + slot, mask=there, other=0) != 0
    chosen = tl.load(chance + row * D + slot, mask=there, other=1.0)
    kept = counts & (chosen < tl.load(a + row * D + slot, mask=there, other=0.0))
    many = tl.min(tl.where(kept, D, slot), 0)
    tl.store(accepted + row, many.to(tl.int64))
    tl.store(rejected + row, many < tl.sum(counts.to(tl.int32), 0))
    v = tl.arange(0, BV)
    last = tl.minimum(many, D - 1)
    law = tl.load(laws + (row * W + many) * V + v, mask=v < V)
    tl.store(after + row * V + v, law, mask=v < V)
    law = tl.load(laws + (row * W + last) * V + v, mask=v < V)
    tl.store(p_last + row * V + v, law, mask=v < V)
    law = tl.load(q + row * q_row + last * V + v, mask=v < V)
    tl.store(q_last + row * V + v, law, mask=v < V)


def clip(ratio: Tensor, p: Tensor, tokens: Tensor) -> Tensor:
    """min(1, ratio) for ratio and tokens [B, D, 1], 0 where p [B, D, V] forbids the token."""
    ratio, tokens = ratio.contiguous(), tokens.contiguous()
    out = torch.empty_like(ratio)
    n = ratio.numel()
    _clip[(triton.cdiv(n, 256),)](
        ratio, p, tokens, out, n, ratio.shape[1], p.shape[2], p.stride(0), p.stride(1), 256
    )
    return out


def keep(
    a: Tensor, chance: Tensor, valid: Tensor, laws: Tensor, q: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """See `paretoken.evaluators.engine.verifier.keep`; q: [B, D, V] with rows of V numbers."""
    batch, depth = a.shape
    window, vocabulary = laws.shape[1:]
    a, chance, laws = a.contiguous(), chance.contiguous(), laws.contiguous()
    accepted = torch.empty(batch, device=a.device, dtype=torch.int64)
    rejected = torch.empty(batch, 1, device=a.device, dtype=torch.bool)
    p_last, q_last, after = (torch.empty_like(laws[:, 0]) for _ in range(3))
    _keep[(batch,)](
        a, chance, valid, laws, q, accepted, rejected, p_last, q_last, after, window, q.stride(0),
        valid.stride(0), depth, triton.next_power_of_2(depth), vocabulary,
        triton.next_power_of_2(vocabulary),
    )  # fmt: skip
    return accepted, rejected, p_last, q_last, after
