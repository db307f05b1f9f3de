"""Counter-based uniform numbers, the bits of `paretoken.evaluators.engine.noise`, in one launch."""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

_BLOCK = 512


@triton.jit(do_not_specialize=["seed", "purpose", "total"])
def _uniforms(out, rows, seed, purpose, total, places, slots, blocks, B: tl.constexpr):
    i = tl.program_id(0).to(tl.int64) * B + tl.arange(0, B)
    inside = i < total
    line, block = i // blocks, i % blocks
    row = tl.load(rows + line // places, mask=inside, other=0)
    c0 = row.to(tl.uint32)
    c1 = (line % places).to(tl.uint32)
    c2 = block.to(tl.uint32)
    c3 = tl.zeros_like(c2) + purpose.to(tl.uint32)
    words = tl.philox(seed, c0, c1, c2, c3)
    for k in tl.static_range(4):
        bits = words[k].to(tl.uint32, bitcast=True)
        number = ((bits >> 9).to(tl.float32) + 0.5) * 1.1920928955078125e-07
        slot = block * 4 + k
        tl.store(out + line * slots + slot, number, mask=inside & (slot < slots))


def uniforms(seed: int, purpose: int, rows: Tensor, places: int, slots: int) -> Tensor:
    """Uniform numbers in (0, 1) for row ids `rows` [B], places and slots: [B, places, slots]."""
    out = torch.empty(len(rows), places, slots, device=rows.device)
    blocks = triton.cdiv(slots, 4)
    total = len(rows) * places * blocks
    if total:
        _uniforms[(triton.cdiv(total, _BLOCK),)](
            out, rows, seed, purpose, total, places, slots, blocks, _BLOCK
        )
    return out
