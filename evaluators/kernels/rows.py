"""The book-keeping of a round, one program a row: what is fed, what is kept, where rows stand."""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor


@triton.jit
def _feed(
    pending, drafts, offered, count, lengths, fed, place, valid, length, draft_stride,
    offered_stride, W: tl.constexpr, BW: tl.constexpr,
):  # fmt: skip
    row = tl.program_id(0).to(tl.int64)
    slot = tl.arange(0, BW)
    start = tl.load(count + row)
    wanted = tl.minimum(tl.load(lengths + row), W)
    first = tl.load(pending + row)
    inside = slot < W
    draft = (slot > 0) & inside
    token = tl.load(drafts + row * draft_stride + slot - 1, mask=draft, other=0)
    tl.store(fed + row * W + slot, tl.where(slot == 0, first, token), mask=inside)
    tl.store(place + row * W + slot, start + slot, mask=inside)
    there = tl.load(offered + row * offered_stride + slot - 1, mask=draft, other=0) != 0
    stands = there & (slot < wanted) & (start + slot - 1 < length)
    tl.store(valid + row * (W - 1) + slot - 1, stands, mask=draft)


@triton.jit
def _leading(kept, out, D: tl.constexpr, BD: tl.constexpr):
    row = tl.program_id(0).to(tl.int64)
    slot = tl.arange(0, BD)
    stands = tl.load(kept + row * D + slot, mask=slot < D, other=0) != 0
    tl.store(out + row, tl.min(tl.where(stands, D, slot), 0).to(tl.int64))


@triton.jit
def _commit(
    tokens, pending, count, forwards, kept, refused, rounds, broken,
    drafts, valid, accepted, token, laws, length, draft_stride, padded, prime, V,
    W: tl.constexpr, BW: tl.constexpr,
):  # fmt: skip
    row = tl.program_id(0).to(tl.int64)
    slot = tl.arange(0, BW)
    start = tl.load(count + row)
    if start < length:
        many = tl.load(accepted + row)
        following = tl.load(token + row)
        draft = tl.load(drafts + row * draft_stride + slot, mask=slot < W - 1, other=0)
        line = tl.where(slot == many, following, draft)
        tl.store(tokens + row * padded + start + slot, line, mask=(slot <= many) & (slot < W))
        gained = tl.minimum(many + 1, length - start)
        stands = tl.load(valid + row * (W - 1) + slot, mask=slot < W - 1, other=0) != 0
        tested = tl.sum(stands.to(tl.int64), 0)
        tl.store(forwards + row, tl.load(forwards + row) + 1)
        tl.store(kept + row, tl.load(kept + row) + tl.minimum(many, gained))
        tl.store(refused + row, tl.load(refused + row) + (many < tested).to(tl.int64))
        this_round = (many + 1) * length + tested
        tl.store(rounds + row, tl.load(rounds + row) * prime + this_round)
        tl.store(pending + row, following)
        tl.store(count + row, start + gained)
        one = tl.load(laws + (row * W + slot) * V, mask=slot < W, other=0.0)
        nans = tl.sum((one != one).to(tl.int32), 0)
        if nans > 0:
            tl.store(broken, 1)


def feed(
    pending: Tensor, drafts: Tensor, offered: Tensor, count: Tensor, lengths: Tensor, length: int
) -> tuple[Tensor, Tensor, Tensor]:
    """See `paretoken.evaluators.engine.rows.feed`."""
    batch, window = len(pending), drafts.shape[1] + 1
    fed = torch.empty(batch, window, device=pending.device, dtype=torch.int64)
    place = torch.empty_like(fed)
    valid = torch.empty(batch, window - 1, device=pending.device, dtype=torch.bool)
    _feed[(batch,)](
        pending, drafts, offered, count, lengths, fed, place, valid, length, drafts.stride(0),
        offered.stride(0), window, triton.next_power_of_2(window), num_warps=1,
    )  # fmt: skip
    return fed, place, valid


def leading(kept: Tensor) -> Tensor:
    """How many of kept [B, D] are true before the first that is not: [B] int64."""
    kept = kept.contiguous()
    batch, depth = kept.shape
    out = torch.empty(batch, device=kept.device, dtype=torch.int64)
    _leading[(batch,)](kept, out, depth, triton.next_power_of_2(depth + 1), num_warps=1)
    return out


def commit(
    state: tuple[Tensor, ...], drafts: Tensor, valid: Tensor, accepted: Tensor, token: Tensor,
    laws: Tensor, length: int, prime: int,
) -> None:  # fmt: skip
    """See `paretoken.evaluators.engine.rows.Rows.commit`; state: its tensors, in their order."""
    batch, window = laws.shape[:2]
    laws = laws.contiguous()
    _commit[(batch,)](
        *state, drafts, valid, accepted, token, laws, length, drafts.stride(0),
        state[0].shape[1], prime, laws.shape[2], window, triton.next_power_of_2(window),
        num_warps=1,
    )  # fmt: skip
