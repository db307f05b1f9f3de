"""Tokens drawn from laws, one program a law: by inversion, or with Gumbel noise kept in a table."""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor


@triton.jit
def _invert(law, uniform, out, V: tl.constexpr, BV: tl.constexpr):
    row = tl.program_id(0).to(tl.int64)
    v = tl.arange(0, BV)
    mass = tl.load(law + row * V + v, mask=v < V, other=0.0).to(tl.float64)
    cumulative = tl.cumsum(mass, 0)
    threshold = tl.load(uniform + row).to(tl.float64) * tl.max(cumulative, 0)
    # The sums of neighbours may be rounded apart even where there is no mass between them.
    reached = tl.min(tl.where((cumulative > threshold) & (mass > 0), v, BV), 0)
    last = tl.max(tl.where(mass > 0, v, 0), 0)
    tl.store(out + row, tl.minimum(reached, last).to(tl.int64))


@triton.jit
def _noisy(laws, noise, place, out, W, places, V: tl.constexpr, BV: tl.constexpr):
    row = tl.program_id(0).to(tl.int64)
    v = tl.arange(0, BV)
    law = tl.load(laws + row * V + v, mask=v < V, other=0.0).to(tl.float32)
    line = (row // W) * places + tl.load(place + row)
    gumbel = tl.load(noise + line * V + v, mask=v < V, other=0.0)
    score = tl.where(law > 0, tl.log(law) + gumbel, float("-inf"))
    tl.store(out + row, tl.argmax(score, 0).to(tl.int64))


def _warps(vocabulary: int) -> int:
    return 4 if vocabulary <= 2048 else 8


def draw(law: Tensor, uniform: Tensor) -> Tensor:
    """By inversion from law [..., V] with uniform [...] in (0, 1): [...] int64."""
    law, uniform = law.contiguous(), uniform.contiguous()
    vocabulary = law.shape[-1]
    out = torch.empty(uniform.shape, device=law.device, dtype=torch.int64)
    _invert[(out.numel(),)](
        law, uniform, out, vocabulary, triton.next_power_of_2(vocabulary),
        num_warps=_warps(vocabulary),
    )  # fmt: skip
    return out


def draw_at(laws: Tensor, noise: Tensor, place: Tensor) -> Tensor:
    """argmax(log law + noise) with laws [B, W, V], noise [B, P, V] read at place [B, W]: [B, W]."""
    laws, place = laws.contiguous(), place.contiguous()
    vocabulary, window = laws.shape[-1], laws.shape[1]
    out = torch.empty(place.shape, device=laws.device, dtype=torch.int64)
    _noisy[(out.numel(),)](
        laws, noise, place, out, window, noise.shape[1], vocabulary,
        triton.next_power_of_2(vocabulary), num_warps=_warps(vocabulary),
    )  # fmt: skip
    return out


@triton.jit
def _normalise(mass, otherwise, out, V: tl.constexpr, BV: tl.constexpr):
    line = tl.program_id(0).to(tl.int64) * V
    v = tl.arange(0, BV)
    values = tl.load(mass + line + v, mask=v < V, other=0.0)
    total = tl.sum(values, 0)
    if total > 0:
        tl.store(out + line + v, values / total, mask=v < V)
    else:
        tl.store(out + line + v, tl.load(otherwise + line + v, mask=v < V), mask=v < V)


def normalised(mass: Tensor, otherwise: Tensor) -> Tensor:
    """mass [..., V] divided by its sum, or `otherwise` where there is no mass."""
    mass, otherwise = mass.contiguous(), otherwise.contiguous()
    vocabulary = mass.shape[-1]
    out = torch.empty_like(mass)
    _normalise[(mass.numel() // vocabulary,)](
        mass, otherwise, out, vocabulary, triton.next_power_of_2(vocabulary),
        num_warps=_warps(vocabulary),
    )  # fmt: skip
    return out
