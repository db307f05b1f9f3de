"""Counter-based random numbers: the same bits on every device, whatever the batch or the order.

Philox4x32-10 in vectorised 64-bit integer arithmetic. A number is a pure function of (seed, row,
place, purpose, slot); nothing is drawn in sequence, so a sample does not depend on its neighbours
in the batch, and decoders that look at a position at different times see the same noise.
Source: Salmon, Moraes, Dror and Shaw, "Parallel random numbers: as easy as 1, 2, 3" (2011).
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import IntEnum

import torch
from torch import Tensor

from paretoken.evaluators.kernels import fused

_MASK = 0xFFFFFFFF
_MULTIPLIERS = (0xD2511F53, 0xCD9E8D57)
_WEYL = (0x9E3779B9, 0xBB67AE85)
_ROUNDS = 10


class Purpose(IntEnum):
    """What a number is for; two purposes never share a bit.

    GUMBEL, ACCEPT, NEXT and FINE are keyed by absolute position: each decides a position once (FINE
    the code in a cluster that NEXT has drawn). DRAFT, COUPLE, REDRAW and START belong to guesses,
    which are renewed every round, and are keyed by the round and the slot in it: reusing a uniform
    that a draft already depends on is biased.
    """

    GUMBEL = 0
    ACCEPT = 1
    NEXT = 2
    DRAFT = 3
    COUPLE = 4
    REDRAW = 5
    START = 6
    FINE = 7


def philox(
    c0: Tensor, c1: Tensor, c2: Tensor, c3: Tensor, seed: int
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Four 32-bit words for each counter (c0, c1, c2, c3): int64, of the common broadcast shape."""
    k0, k1 = seed & _MASK, (seed >> 32) & _MASK
    for _ in range(_ROUNDS):
        # The product wraps modulo 2**64; an arithmetic shift and a mask still give its high word.
        first, second = c0 * _MULTIPLIERS[0], c2 * _MULTIPLIERS[1]
        c0, c1, c2, c3 = (
            ((second >> 32) & _MASK) ^ c1 ^ k0,
            second & _MASK,
            ((first >> 32) & _MASK) ^ c3 ^ k1,
            first & _MASK,
        )
        k0, k1 = (k0 + _WEYL[0]) & _MASK, (k1 + _WEYL[1]) & _MASK
    return c0, c1, c2, c3


def uniforms(seed: int, purpose: Purpose, rows: Tensor, places: int, slots: int) -> Tensor:
    """Uniform numbers in the open interval (0, 1) for every row, place and slot.

    rows: [B] int64 row ids. places: positions or rounds. Returns [B, places, slots] float32 on the
    grid (k + 1/2) / 2**23, exact in float32, so that neither 0 nor 1 ever occurs.
    """
    return tables(seed, {purpose: slots}, rows, places)[purpose]


def tables(
    seed: int, slots: Mapping[Purpose, int], rows: Tensor, places: int
) -> dict[Purpose, Tensor]:
    """The `uniforms` of several purposes, each with its own number of slots, in one go.

    The cipher is a hundred tiny operations whatever its size: a sample that starts pays them once.
    """
    if fused(rows.device):
        from paretoken.evaluators.kernels import noise as kernels

        return {p: kernels.uniforms(seed, p, rows, places, n) for p, n in slots.items()}
    blocks = {purpose: (count + 3) // 4 for purpose, count in slots.items()}
    device = rows.device
    block = torch.cat([torch.arange(count, device=device) for count in blocks.values()])
    purpose_of = torch.cat(
        [torch.full((count,), int(p), device=device) for p, count in blocks.items()]
    )
    place = torch.arange(places, device=device).view(-1, 1)
    words = philox(rows.view(-1, 1, 1) & _MASK, place, block, purpose_of, seed)
    bits = torch.stack(words, dim=-1)  # [B, places, blocks, 4]
    numbers = ((bits >> 9).to(torch.float32) + 0.5) * 2.0**-23
    parts = torch.split(numbers, list(blocks.values()), dim=2)
    return {p: part.flatten(-2)[..., : slots[p]] for p, part in zip(slots, parts, strict=True)}


def gumbels(seed: int, rows: Tensor, positions: int, vocabulary: int) -> Tensor:
    """Standard Gumbel noise [B, positions, V] float32, fixed for each row and absolute position."""
    numbers = uniforms(seed, Purpose.GUMBEL, rows, positions, vocabulary)
    return numbers.log_().neg_().log_().neg_()  # in place: a gigabyte for a thousand samples
