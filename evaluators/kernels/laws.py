"""The standard sampling law in one launch: guidance, temperature, top-k, softmax, top-p.

Thresholds are found without sorting: a float's bits, read as an integer, order as the float does,
so that a threshold is built bit by bit, each by one count over the row.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor


@triton.jit
def _ordered(x):
    """int32 keys that order as the floats do."""
    bits = x.to(tl.int32, bitcast=True)
    return tl.where(bits < 0, bits ^ 0x7FFFFFFF, bits)


@triton.jit(do_not_specialize=["last", "top_k"])
def _laws(
    conditional, unconditional, index, out, cfg, last, temperature, top_k, top_p,
    GUIDED: tl.constexpr, LIMITED: tl.constexpr, TOP_K: tl.constexpr, TOP_P: tl.constexpr,
    V: tl.constexpr, BV: tl.constexpr,
):  # fmt: skip
    row = tl.program_id(0).to(tl.int64)
    v = tl.arange(0, BV)
    logits = tl.load(conditional + row * V + v, mask=v < V, other=float("-inf"))
    if GUIDED:
        without = tl.load(unconditional + row * V + v, mask=v < V, other=0.0)
        mixed = without + cfg * (logits - without)
        if LIMITED:
            mixed = tl.where(tl.load(index + row) <= last, mixed, logits)
        logits = tl.where(v < V, mixed, float("-inf"))
    logits = logits / temperature
    if TOP_K:
        key = _ordered(logits)
        enough = tl.sum((key >= 0).to(tl.int32), 0) >= top_k
        least = tl.where(enough, 0, -2147483648)
        for i in range(31):
            higher = least | (1 << (30 - i))
            enough = tl.sum((key >= higher).to(tl.int32), 0) >= top_k
            least = tl.where(enough, higher, least)
        logits = tl.where(key >= least, logits, float("-inf"))
    mass = tl.exp(logits - tl.max(logits, 0))
    law = mass / tl.sum(mass, 0)
    if TOP_P:
        # The least value whose likelier tokens hold no more than top_p; of equal tokens the first
        # ones stay for as long as that is so with those before them counted.
        key = law.to(tl.int32, bitcast=True)
        over = 0
        for i in range(31):
            higher = over | (1 << (30 - i))
            more = tl.sum(tl.where(key > higher, law, 0.0), 0) > top_p
            over = tl.where(more, higher, over)
        more = tl.sum(tl.where(key > over, law, 0.0), 0) > top_p
        least = tl.where(more, over + 1, over)
        above = tl.sum(tl.where(key > least, law, 0.0), 0)
        equal = (key == least).to(tl.int32)
        before = tl.cumsum(equal, 0) - equal
        stays = (key > least) | ((equal > 0) & (above + before * law <= top_p))
        law = tl.where(stays | (law != law), law, 0.0)
        law = law / tl.sum(law, 0)
    tl.store(out + row * V + v, law, mask=v < V)


def laws(
    conditional: Tensor, unconditional: Tensor | None, index: Tensor, *, cfg: float,
    cfg_interval: int, temperature: float, top_k: int, top_p: float,
) -> Tensor:  # fmt: skip
    """Laws [B, W, V] of logits [B, W, V]; index: [B, W], read where cfg_interval is not -1.

    temperature is above 0; top_k 0 and top_p 1 are off.
    """
    conditional = conditional.contiguous()
    vocabulary = conditional.shape[-1]
    out = torch.empty_like(conditional)
    guided = unconditional is not None
    other = conditional if unconditional is None else unconditional.contiguous()
    _laws[(conditional.numel() // vocabulary,)](
        conditional, other, index.contiguous(), out, cfg, cfg_interval + 1, temperature, top_k,
        top_p, guided, cfg_interval >= 0, 0 < top_k < vocabulary, top_p < 1.0, vocabulary,
        triton.next_power_of_2(vocabulary), num_warps=4 if vocabulary <= 2048 else 8,
    )  # fmt: skip
    return out
