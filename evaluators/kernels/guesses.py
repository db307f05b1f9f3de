"""The guesses of Jacobi drafting moved to where a row stands now, with their laws."""

from __future__ import annotations

import triton
import triton.language as tl
from torch import Tensor

INITS = ("random", "repeat_left", "law_left", "repeat_above")


@triton.jit
def _move(
    guess, accepted, lengths, count, tokens, round_, chance, likeliest, out, V, width, padded,
    rounds, INIT: tl.constexpr, S: tl.constexpr, W: tl.constexpr, BS: tl.constexpr,
):  # fmt: skip
    row = tl.program_id(0).to(tl.int64)
    slot = tl.arange(0, BS)
    inside = slot < S
    shift = tl.load(accepted + row) + 1
    start = tl.load(count + row)
    length = tl.load(lengths + row)
    source = slot + shift
    known = (source < length) & inside
    moved = tl.load(guess + row * W + source, mask=known & (source < W), other=0)
    now = tl.load(round_ + row) + 1
    tl.store(round_ + row, now)
    line = row * rounds + tl.minimum(now, rounds - 1)
    uniform = tl.load(chance + line * S + slot, mask=inside, other=0.0)
    new = (uniform * V).to(tl.int64)
    place = start + slot
    if INIT == 1:
        left = tl.load(guess + row * W + length - 1)
        new = tl.where(place % width == 0, new, left)
    if INIT == 2:
        left = tl.load(likeliest + row)
        new = tl.where(place % width == 0, new, left)
    if INIT == 3:
        end = start + tl.sum(known.to(tl.int64), 0)  # the first position that nobody knows
        up = tl.maximum(place - end, 0) // width + 1
        above = place - up * width
        stands = above < start
        old = tl.load(tokens + row * padded + above, mask=inside & stands & (above >= 0), other=0)
        index = above - start + shift
        guessed = tl.load(
            guess + row * W + index, mask=inside & (above >= start) & (index < W), other=0
        )
        new = tl.where(above >= 0, tl.where(stands, old, guessed), new)
    tl.store(out + row * S + slot, tl.where(known, moved, new), mask=inside)


@triton.jit
def _move_laws(laws, accepted, lengths, tokens, out, S, W, V: tl.constexpr, BV: tl.constexpr):
    program = tl.program_id(0).to(tl.int64)
    row, slot = program // S, program % S
    v = tl.arange(0, BV)
    source = slot + tl.load(accepted + row) + 1
    known = source < tl.load(lengths + row)
    law = tl.load(laws + (row * W + source) * V + v, mask=(v < V) & known, other=0.0)
    certain = (v == tl.load(tokens + program)).to(law.dtype)
    tl.store(out + program * V + v, tl.where(known, law, certain), mask=v < V)


def move(
    guess: Tensor, accepted: Tensor, lengths: Tensor, count: Tensor, tokens: Tensor,
    rounds: Tensor, chance: Tensor, likeliest: Tensor, init: str, vocabulary: int, width: int,
    out: Tensor,
) -> None:  # fmt: skip
    """Fill out [B, S]: the guesses [B, W] from slot accepted + 1 on, then new ones by `init`.

    lengths, count, accepted, rounds: [B]; rounds are counted up here. tokens: [B, N + pad]. chance:
    [B, N, S] uniforms of the rounds. likeliest: [B], read by "law_left".
    """
    batch, slots = out.shape
    guess = guess.contiguous()
    _move[(batch,)](
        guess, accepted, lengths, count, tokens, rounds, chance, likeliest, out, vocabulary, width,
        tokens.shape[1], chance.shape[1], INITS.index(init), slots, guess.shape[1],
        triton.next_power_of_2(slots), num_warps=1,
    )  # fmt: skip


def move_laws(laws: Tensor, accepted: Tensor, lengths: Tensor, tokens: Tensor, out: Tensor) -> None:
    """Fill out [B, S, V]: laws [B, W, V] from slot accepted + 1 on, then certainty of `tokens`."""
    (batch, slots, vocabulary), window = out.shape, laws.shape[1]
    laws = laws.contiguous()
    _move_laws[(batch * slots,)](
        laws, accepted, lengths, tokens, out, slots, window, vocabulary,
        triton.next_power_of_2(vocabulary),
    )  # fmt: skip
