"""Counter-based noise: the published cipher, uniform numbers, and what may depend on what."""

from __future__ import annotations

import itertools
import math
from typing import Any

import pytest
import torch
from scipy.stats import gumbel_r, kstest

from paretoken.evaluators.engine.laws import draw, draw_with_noise, normalised, one_hot
from paretoken.evaluators.engine.noise import Purpose, gumbels, philox, tables, uniforms

# About ten statistical tests; the seeds are fixed, so a failure is a change, not chance.
LEVEL = 1e-4
SEED = 0x0123456789ABCDEF

# Random123 (Salmon et al. 2011), kat_vectors: philox4x32, 10 rounds: counter, key, result.
KNOWN_ANSWERS = [
    (
        (0x00000000, 0x00000000, 0x00000000, 0x00000000),
        (0x00000000, 0x00000000),
        (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8),
    ),
    (
        (0xFFFFFFFF, 0xFFFFFFFF, 0xFFFFFFFF, 0xFFFFFFFF),
        (0xFFFFFFFF, 0xFFFFFFFF),
        (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD),
    ),
    (
        (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344),
        (0xA4093822, 0x299F31D0),
        (0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1),
    ),
]


@pytest.mark.parametrize(("counter", "key", "expected"), KNOWN_ANSWERS)
def test_philox_gives_the_published_answers(
    counter: tuple[int, ...], key: tuple[int, int], expected: tuple[int, ...]
) -> None:
    c0, c1, c2, c3 = (torch.tensor([word]) for word in counter)
    words = philox(c0, c1, c2, c3, key[0] | key[1] << 32)
    assert tuple(int(word) for word in words) == expected


def test_philox_of_many_counters_is_that_of_each() -> None:
    counters = [
        torch.tensor(column) for column in zip(*(c for c, _, _ in KNOWN_ANSWERS), strict=True)
    ]
    c0, c1, c2, c3 = counters
    together = philox(c0, c1, c2, c3, SEED)
    for row in range(len(KNOWN_ANSWERS)):
        alone = philox(c0[row], c1[row], c2[row], c3[row], SEED)
        assert [int(w) for w in alone] == [int(w[row]) for w in together]


# -------------------------------------------------------------------------------- uniform numbers


def test_numbers_lie_strictly_between_0_and_1() -> None:
    """The grid is (k + 1/2) / 2**23: its ends stay inside even in float32."""
    numbers = uniforms(SEED, Purpose.ACCEPT, torch.arange(64), 64, 64)
    assert numbers.dtype == torch.float32
    assert float(numbers.min()) > 0.0
    assert float(numbers.max()) < 1.0
    cells = numbers.double() * 2**23 - 0.5
    assert torch.equal(cells, cells.round())
    for extreme in (0, 2**23 - 1):  # the grid's own ends, computed as the engine does
        end = (torch.tensor(extreme).to(torch.float32) + 0.5) * 2.0**-23
        assert 0.0 < float(end) < 1.0


@pytest.mark.parametrize("purpose", Purpose)
def test_numbers_are_uniform(purpose: Purpose) -> None:
    numbers = uniforms(SEED, purpose, torch.arange(50), 20, 30).flatten()
    assert kstest(numbers.double().numpy(), "uniform").pvalue > LEVEL


def test_gumbels_have_the_gumbel_law() -> None:
    noise = gumbels(SEED, torch.arange(50), 20, 30).flatten()
    assert bool(noise.isfinite().all())
    assert kstest(noise.double().numpy(), gumbel_r.cdf).pvalue > LEVEL


def correlation(one: torch.Tensor, other: torch.Tensor) -> float:
    return float(torch.corrcoef(torch.stack([one.flatten(), other.flatten()]).double())[0, 1])


def test_numbers_of_different_purpose_seed_row_place_and_slot_are_unrelated() -> None:
    """30,000 pairs of independent numbers correlate by 1 / sqrt(30,000) = 0.0058; five of them."""
    rows = torch.arange(100)
    base = uniforms(SEED, Purpose.ACCEPT, rows, 21, 21)
    here = base[:, :20, :15]
    others = {
        "seed": uniforms(SEED + 1, Purpose.ACCEPT, rows, 20, 15),
        "upper half of the seed": uniforms(SEED + (1 << 32), Purpose.ACCEPT, rows, 20, 15),
        "row": uniforms(SEED, Purpose.ACCEPT, rows + 1, 20, 15),
        "place": base[:, 1:, :15],
        "slot": base[:, :20, 1:16],
        "block of slots": base[:, :20, 4:19],
    }
    for purpose in set(Purpose) - {Purpose.ACCEPT}:
        others[purpose.name] = uniforms(SEED, purpose, rows, 20, 15)
    for other in others.values():
        assert abs(correlation(here, other)) < 0.029
        assert float((here == other).float().mean()) < 0.001


def test_a_number_does_not_depend_on_what_is_asked_for_with_it() -> None:
    """Whatever the batch, its order, the number of places and slots, and the other purposes."""
    rows = torch.tensor([5, 0, 91, 7, 2**31, 2**32 - 1])
    whole = uniforms(SEED, Purpose.DRAFT, rows, 9, 13)
    order = torch.tensor([3, 5, 0, 4])
    assert torch.equal(uniforms(SEED, Purpose.DRAFT, rows[order], 9, 13), whole[order])
    assert torch.equal(uniforms(SEED, Purpose.DRAFT, rows, 4, 6), whole[:, :4, :6])
    for row, expected in zip(rows, whole, strict=True):
        assert torch.equal(uniforms(SEED, Purpose.DRAFT, row.view(1), 9, 13)[0], expected)
    together = tables(SEED, {Purpose.START: 3, Purpose.DRAFT: 13, Purpose.NEXT: 1}, rows, 9)
    assert torch.equal(together[Purpose.DRAFT], whole)
    assert torch.equal(together[Purpose.NEXT], uniforms(SEED, Purpose.NEXT, rows, 9, 1))
    assert together[Purpose.START].shape == (6, 9, 3)


def test_no_two_counters_share_their_words() -> None:
    """Rows, places, blocks and purposes are counter words of their own: nothing can collide."""
    counters = list(itertools.product(range(3), range(3), range(3), range(7)))
    c0, c1, c2, c3 = torch.tensor(counters).unbind(-1)
    words = torch.stack(philox(c0, c1, c2, c3, SEED), dim=-1).tolist()
    assert len({tuple(row) for row in words}) == len(counters)


# ------------------------------------------------------------------------------------------ draws

LAWS = [
    [0.0, 0.0, 0.3, 0.0, 0.7, 0.0],
    [0.2, 0.5, 0.0, 0.3, 0.0, 0.0],
    [0.0, 0.0, 0.0, 0.0, 0.0, 1.0],
    [1.0, 0.0, 0.0, 0.0, 0.0, 0.0],
    [3.0, 1.0, 0.0, 0.0, 4.0, 8.0],  # not normalised
    [1e-30, 0.0, 1e-30, 0.0, 0.0, 0.0],
]


def by_inversion(law: list[float], uniform: float) -> int:
    total, reached = sum(law), 0.0
    for token, mass in enumerate(law):
        reached += mass
        if reached > uniform * total:
            return token
    raise AssertionError("a uniform below 1 must fall somewhere")


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("law", LAWS)
def test_draw_inverts_the_cumulative_law(law: list[float], dtype: torch.dtype) -> None:
    table = torch.tensor(law, dtype=dtype)
    # Both ends of the engine's uniforms, and a grid that avoids the steps of the laws above.
    grid = [2.0**-24, 1.0 - 2.0**-24, *((k + 0.5) / 997 for k in range(997))]
    tokens = draw(table.expand(len(grid), -1), torch.tensor(grid, dtype=torch.float64))
    assert tokens.tolist() == [by_inversion(table.double().tolist(), u) for u in grid]


def test_draw_never_takes_a_token_of_probability_zero() -> None:
    ends = torch.tensor([2.0**-24, 1.0 - 2.0**-24])
    law = torch.rand(200, 500, generator=torch.Generator().manual_seed(1))
    law *= torch.rand(200, 500, generator=torch.Generator().manual_seed(2)) < 0.1
    law[:, :7] = law[:, -7:] = 0.0
    tokens = draw(law.unsqueeze(1).expand(-1, 2, -1), ends.expand(200, -1))
    assert bool((law.gather(1, tokens) > 0).all())
    support = [row.nonzero().squeeze(-1) for row in law]
    assert tokens[:, 1].tolist() == [int(s[-1]) for s in support]


def test_draw_follows_the_law(chi_square: Any) -> None:
    law = [0.05, 0.0, 0.4, 0.3, 0.0, 0.25]
    uniform = uniforms(SEED, Purpose.NEXT, torch.arange(20_000), 1, 1).flatten()
    tokens = draw(torch.tensor(law).expand(20_000, -1), uniform)
    positive = {(x,): p for x, p in enumerate(law) if p > 0}
    assert chi_square(tokens.unsqueeze(-1), positive) > LEVEL


def test_draw_of_what_is_no_law_stays_in_the_vocabulary() -> None:
    """NaN laws are reported at the end of the round; until then nothing may fault."""
    assert 0 <= int(draw(torch.full((1, 5), torch.nan), torch.tensor([0.5]))) < 5


def test_draw_with_noise_follows_the_law(chi_square: Any) -> None:
    law = [0.05, 0.0, 0.4, 0.3, 0.0, 0.25]
    noise = gumbels(SEED, torch.arange(20_000), 1, 6)[:, 0]
    tokens = draw_with_noise(torch.tensor(law).expand(20_000, -1), noise)
    positive = {(x,): p for x, p in enumerate(law) if p > 0}
    assert chi_square(tokens.unsqueeze(-1), positive) > LEVEL
    wrong = {(x,): p for x, p in zip((0, 2, 3, 5), (0.07, 0.38, 0.3, 0.25), strict=True)}
    assert chi_square(tokens.unsqueeze(-1), wrong) < LEVEL  # negative control


def test_draw_with_noise_is_the_argmax_of_log_law_plus_noise() -> None:
    law, noise = [0.2, 0.0, 0.8], [1.5, 90.0, 0.0]
    best = max((0, 2), key=lambda x: math.log(law[x]) + noise[x])
    assert int(draw_with_noise(torch.tensor(law), torch.tensor(noise))) == best


def test_normalised_falls_back_where_no_mass_is_left() -> None:
    mass = torch.tensor([[0.0, 2.0, 6.0], [0.0, 0.0, 0.0], [1e-42, 0.0, 0.0]])
    otherwise = torch.tensor([0.5, 0.25, 0.25]).expand(3, -1)
    found = normalised(mass, otherwise)
    assert found[0].tolist() == [0.0, 0.25, 0.75]
    assert found[1].tolist() == [0.5, 0.25, 0.25]
    assert bool(found.isfinite().all())


def test_one_hot_is_certain() -> None:
    law = one_hot(torch.tensor([[2, 0]]), 3, torch.float64)
    assert law.tolist() == [[[0.0, 0.0, 1.0], [1.0, 0.0, 0.0]]]
