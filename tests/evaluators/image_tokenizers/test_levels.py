"""Levels of TokenBridge against the formulas and figures of its description."""

from __future__ import annotations

import math
from itertools import pairwise
from statistics import NormalDist

import pytest
import torch
from torch import Tensor

from paretoken.evaluators.image_tokenizers.levels import (
    ORDERS,
    RULES,
    edges,
    nearest,
    order_of,
    restored,
    table,
)

# A normal law by its quantiles: the mean of a smooth function over them is its integral to 1e-4.
_POINTS = 200_001
NORMAL = torch.tensor(
    [NormalDist().inv_cdf((n + 0.5) / _POINTS) for n in range(_POINTS)], dtype=torch.float64
)


def error(bits: int, clip: float, stretch: float, rule: str) -> float:
    """The mean squared error of a standard normal number."""
    levels = table(bits, clip, rule)
    again = levels[nearest(NORMAL, levels, clip, stretch)] * stretch
    return float((again - NORMAL).square().mean())


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("bits", [1, 2, 4, 6])
def test_levels_rise_and_mirror_each_other(rule: str, bits: int) -> None:
    levels = table(bits, 3.0, rule)
    assert len(levels) == 2**bits and bool((levels.diff() > 0).all())
    assert torch.allclose(levels, -levels.flip(0), atol=1e-9)
    ids = torch.arange(2**bits)
    assert torch.equal(nearest(restored(ids, levels, 1.5), levels, 3.0, 1.5), ids)


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize(("bits", "clip"), [(6, 2.0), (7, 2.0), (8, 2.0), (8, 2.5)])
def test_many_levels_within_a_narrow_clip_are_numbers(rule: str, bits: int, clip: float) -> None:
    """The outermost cells of equal probability lie beyond the clip, and hold nothing."""
    levels = table(bits, clip, rule)
    assert bool(levels.isfinite().all()) and float(levels.abs().max()) <= clip
    assert bool((levels.diff() >= 0).all())
    assert torch.allclose(levels, -levels.flip(0), atol=1e-9)
    if rule == "lloyd_max":  # no cell stays empty
        assert bool((levels.diff() > 0).all())


# Measured for the description with a million draws, whose own error is below a percent.
@pytest.mark.parametrize(
    ("bits", "stretch", "expected"),
    [(4, 5 / 3, 0.01028), (4, 1.0, 0.0211), (6, 5 / 3, 0.00066), (6, 1.0, 0.0040)],
)
def test_errors_are_those_that_were_published(bits: int, stretch: float, expected: float) -> None:
    assert error(bits, 3.0, stretch, "conditional_mean") == pytest.approx(expected, rel=0.03)


def test_no_levels_beat_lloyd_and_max() -> None:
    best = error(4, 3.0, 1.0, "lloyd_max")
    # Max (1960) has 0.009497 for a number that is not clipped.
    assert best == pytest.approx(0.0095, rel=0.02)
    for rule in RULES:
        for stretch in (1.0, 1.3, 5 / 3):
            assert error(4, 3.0, stretch, rule) >= best - 1e-9


def test_lloyd_and_max_are_found_for_many_levels_too() -> None:
    """N^2 times the squared error goes to (integral of f^(1/3))^3 / 12 (Panter and Dite 1951)."""
    clipped = NORMAL.clamp(-3.0, 3.0)
    limit = 2 * math.pi * 3**1.5 / 12 * math.erf(3 / 6**0.5) ** 3
    for bits in (7, 8):
        levels = table(bits, 3.0, "lloyd_max")
        again = levels[nearest(clipped, levels, 3.0, 1.0)]
        found = float((again - clipped).square().mean()) * 4**bits
        # What is left is of order 1 / N, 3 / 128 at most, and the number of points.
        assert found == pytest.approx(limit, rel=3 / 128)


def test_a_bit_more_is_a_quarter_of_the_error() -> None:
    found = [error(bits, 3.0, 5 / 3, "conditional_mean") for bits in (2, 3, 4, 5, 6)]
    ratios = [a / b for a, b in pairwise(found)]
    assert all(3.0 < ratio < 4.5 for ratio in ratios)


def test_one_bit_is_the_sign() -> None:
    values = torch.tensor([-2.0, -0.1, 0.1, 4.0])
    levels = table(1, 3.0, "conditional_mean")
    assert nearest(values, levels, 3.0, 1.0).tolist() == [0, 0, 1, 1]
    assert float(levels[1]) == pytest.approx(math.sqrt(2 / math.pi), abs=0.01)  # E|z|, clipped at 3


def test_the_nearest_level_is_not_the_cell_between_edges() -> None:
    levels, borders = table(2, 3.0, "conditional_mean"), torch.tensor(edges(2, 3.0)[1:-1])
    cells = torch.bucketize(NORMAL, borders.double())
    apart = (nearest(NORMAL, levels, 3.0, 1.0) != cells).double().mean()
    assert 0.001 < float(apart) < 0.1  # described: 0.1 to 7 %, more for few levels
    assert torch.equal(
        nearest(NORMAL, levels, 3.0, 1.0), (NORMAL.unsqueeze(1) - levels).abs().argmin(1)
    )


def test_channels_are_ordered_by_what_they_hold() -> None:
    chance = torch.Generator().manual_seed(0)
    flat = torch.randn(50, 1, 1, 1, generator=chance).expand(-1, 1, 8, 8)
    rough = 0.5 * torch.randn(50, 1, 8, 8, generator=chance)
    wavy = flat + 0.2 * torch.randn(50, 1, 8, 8, generator=chance)
    latents = torch.cat([rough, wavy, flat], 1)
    assert order_of("frequency", latents) == [2, 1, 0]
    assert order_of("variance", latents) == [1, 2, 0]
    assert order_of("natural", latents) == [0, 1, 2]
    assert sorted(order_of("random", latents)) == [0, 1, 2]
    assert len(ORDERS) == 4


def test_channels_are_rounded_each_by_itself() -> None:
    values: Tensor = torch.randn(10, 5, generator=torch.Generator().manual_seed(1))
    levels, order = table(3, 3.0, "conditional_mean"), [3, 0, 4, 1, 2]
    there = nearest(values, levels, 3.0, 1.3)
    assert torch.equal(nearest(values[:, order], levels, 3.0, 1.3), there[:, order])
