"""Schedules: exact formulas, values at every border, and schedules that are others by rule."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
import pytest

from paretoken.evaluators.training.curves import ANNEALS, SHAPES, Phase, curve, cut, length, rates
from paretoken.evaluators.training.schedule import Leg, Schedule
from paretoken.spaces.candidate import from_tree, to_tree
from paretoken.spaces.canonical import canonical
from paretoken.spaces.errors import BadValue
from paretoken.spaces.plugins import KINDS

# Float64 rounds each of the few operations of a formula by 1.1e-16 of its value; rates are 0.01 at
# most, so that two ways to write one formula differ by 1e-17 or so.
ROUNDING = 1e-16


def made(name: str, **knobs: Any) -> Schedule:
    found = from_tree({"is": f"schedules/{name}", **knobs}, "schedules")
    assert isinstance(found, Schedule)
    return found


def one(name: str, steps: int, **knobs: Any) -> np.ndarray[Any, Any]:
    """All rates on a single data set, the anneal behind the trunk."""
    (leg,) = made(name, **knobs).legs((steps,))
    return np.concatenate([rates(leg.trunk), rates(leg.anneal)])


def whole(leg: Leg) -> np.ndarray[Any, Any]:
    return np.concatenate([rates(leg.trunk), rates(leg.anneal)])


PEAK, N = 0.01, 200


def test_the_infinite_schedule_is_the_formula_step_by_step() -> None:
    """Written out anew from its definition: warm-up, cosine cool-down, constant, exponential."""
    warm, cool, annealed = 20, 60, 30
    level, floor = 0.4, 0.01
    expected = []
    for n in range(N):
        if n < warm:
            rate = PEAK * n / warm
        elif n < warm + cool:
            u = (n - warm) / cool
            rate = level * PEAK + (PEAK - level * PEAK) / 2 * (1 + math.cos(math.pi * u))
        elif n < N - annealed:
            rate = level * PEAK
        else:
            v = (n - (N - annealed)) / annealed
            rate = level * PEAK * (floor * PEAK / (level * PEAK)) ** v
        expected.append(rate)
    found = one(
        "infinite", N, peak=PEAK, warm_up=0.1, cool_down=0.3, level=level, anneal=0.15, floor=floor
    )
    np.testing.assert_allclose(found, expected, rtol=0, atol=ROUNDING)


@pytest.mark.parametrize(
    ("cooling", "expected"),
    [
        ("cosine", lambda u: 0.4 + 0.3 * (1 + math.cos(math.pi * u))),
        ("linear", lambda u: 1 - 0.6 * u),
        (
            "inverse_root",
            lambda u: 1 - 0.6 * (1 / math.sqrt(1 + 10 * u) - 1) / (1 / math.sqrt(11) - 1),
        ),
    ],
)
def test_each_cool_down_is_its_formula(cooling: str, expected: Any) -> None:
    found = one(
        "infinite", N, peak=PEAK, warm_up=0.1, cool_down=0.5, level=0.4, cooling=cooling, anneal=0.1
    )
    wanted = [PEAK * expected(i / 100) for i in range(100)]
    np.testing.assert_allclose(found[20:120], wanted, rtol=0, atol=ROUNDING)


@pytest.mark.parametrize("shape", sorted(SHAPES))
def test_every_curve_begins_and_ends_where_it_says(shape: str) -> None:
    phase = Phase(shape, 101, 0.01, 0.002, 100)
    found = phase.rates()
    assert found[0] == pytest.approx(0.01, rel=1e-15)
    if shape == "constant":
        assert found[-1] == 0.01
    elif shape == "reciprocal_root":
        assert found[-1] == pytest.approx(0.01 / math.sqrt(2), rel=1e-15)  # at u = 1: at its scale
    else:
        assert found[-1] == pytest.approx(0.002, rel=1e-13)  # the floor, at u = 1 and not before
    assert (np.diff(found) <= 0).all()


@pytest.mark.parametrize("shape", ANNEALS)
def test_phases_meet_and_the_anneal_ends_at_the_floor_on_time(shape: str) -> None:
    schedule = made(
        "infinite", peak=PEAK, warm_up=0.1, cool_down=0.3, level=0.5, shape=shape, floor=0.02
    )
    (leg,) = schedule.legs((N,))
    phases = [*leg.trunk, *leg.anneal]
    for before, after in itertools.pairwise(phases):
        assert after.start == pytest.approx(before.end, rel=1e-15)
        next_step = Phase(before.shape, before.steps + 1, before.start, before.end, before.of)
        # What the curve would be one step on is what the next phase begins with.
        assert next_step.rates()[-1] == pytest.approx(after.rates()[0], rel=1e-12)
    last = phases[-1]
    assert Phase(shape, last.steps + 1, last.start, last.end, last.of).rates()[-1] == (
        pytest.approx(0.02 * PEAK, rel=1e-12)
    )
    assert length(phases) == N


@pytest.mark.parametrize("shape", ["exponential", "harmonic"])
def test_what_never_reaches_zero_is_told_so(shape: str) -> None:
    with pytest.raises(BadValue, match="never reaches 0"):
        one("wsd", N, shape=shape, floor=0.0)


def test_a_cut_curve_goes_on_as_if_it_were_whole() -> None:
    phases = (*curve("linear", 7, 0.0, PEAK), *curve("cosine", 50, PEAK, 0.0))
    for step in (0, 1, 6, 7, 8, 30, 56, 57):
        before, after = cut(phases, step)
        assert length(before) == step
        np.testing.assert_array_equal(np.concatenate([rates(before), rates(after)]), rates(phases))


# --------------------------------------------------------------- schedules that are others by rule

COMMON = {"peak": PEAK, "warm_up": 0.1}


@pytest.mark.parametrize(
    ("left", "right"),
    [
        (("wsd", {"anneal": 1.0, "shape": "cosine", "floor": 0.0}), ("cosine", {})),
        (("wsd", {"anneal": 1.0, "shape": "linear", "floor": 0.0}), ("linear", {})),
        (("wsd", {"anneal": 1.0, "shape": "cosine", "floor": 0.1}), ("cosine", {"floor": 0.1})),
        (("repeated_cosine", {"floor": 0.05}), ("cosine", {"floor": 0.05})),
        (("cosine", {"waves": 0.0}), ("constant", {})),
        (("linear", {"floor": 1.0}), ("constant", {})),
        (("wsd", {"anneal": 0.0}), ("constant", {})),
        (("infinite", {"cool_down": 0.0, "level": 1.0, "anneal": 0.0}), ("constant", {})),
        *(
            (
                ("infinite", {"level": 1.0, "cool_down": cool, "shape": shape, "anneal": 0.2}),
                ("wsd", {"shape": shape, "anneal": 0.2}),
            )
            for shape in ANNEALS
            for cool in (0.0, 0.4)
        ),
    ],
)
def test_coincidences(left: Any, right: Any) -> None:
    found = [one(name, N, **COMMON, **knobs) for name, knobs in (left, right)]
    np.testing.assert_allclose(found[0], found[1], rtol=0, atol=ROUNDING)


def test_without_a_cool_down_an_infinite_schedule_is_wsd_only_if_it_was_not_warmed_up() -> None:
    knobs = {"peak": PEAK, "cool_down": 0.0, "level": 0.5, "floor": 0.01}
    for warm_up, same in ((0.0, True), (0.1, False)):
        infinite = one("infinite", N, warm_up=warm_up, **knobs)
        lower = one("wsd", N, warm_up=warm_up, peak=PEAK / 2, floor=0.02)
        assert np.allclose(infinite, lower, rtol=0, atol=ROUNDING) == same


def test_a_level_at_the_floor_is_a_cosine_and_then_constant() -> None:
    knobs = {"cool_down": 0.4, "level": 0.1, "floor": 0.1}
    found = one("infinite", N, **COMMON, **knobs)
    falls = one("cosine", 100, peak=PEAK, warm_up=0.2, floor=0.1)  # 20 steps up, 80 down
    np.testing.assert_allclose(found[:100], falls, rtol=0, atol=ROUNDING)
    np.testing.assert_allclose(found[100:], 0.1 * PEAK, rtol=1e-12)


def test_an_infinite_schedule_without_a_constant_phase_is_a_cosine_with_a_tail() -> None:
    found = one("infinite", N, **COMMON, cool_down=0.6, level=0.3, anneal=0.3, floor=0.01)
    falls = one("cosine", 140, peak=PEAK, warm_up=20 / 140, floor=0.3)
    tail = 0.3 * PEAK * (0.01 / 0.3) ** (np.arange(60) / 60)
    np.testing.assert_allclose(found, [*falls, *tail], rtol=0, atol=ROUNDING)


def test_restarts_are_the_modulus_of_the_published_formula() -> None:
    for cycles in (1, 2, 3, 7):  # 3 and 7 do not divide the 180 and the 179 steps
        for steps in (200, 199):
            warm = round(0.1 * steps)
            found = one("repeated_cosine", steps, **COMMON, floor=0.0, cycles=cycles)
            left = steps - warm
            # In whole numbers, where `(cycles * i / left) % 1` rounds to the wrong side at times.
            u = [(cycles * i % left) / left for i in range(left)]
            wanted = [PEAK * 0.5 * (1 + math.cos(math.pi * one_u)) for one_u in u]
            np.testing.assert_allclose(found[warm:], wanted, rtol=0, atol=1e-15)


# ----------------------------------------------------------------------------- several data sets


@pytest.mark.parametrize("name", KINDS["schedules"].names())
@pytest.mark.parametrize("stages", [(50,), (40, 40), (30, 7, 60), (1, 1)])
def test_every_schedule_takes_the_steps_that_there_are(name: str, stages: tuple[int, ...]) -> None:
    legs = made(name).legs(stages)
    assert [length(leg.trunk) + length(leg.anneal) for leg in legs] == list(stages)
    for leg in legs:
        found = whole(leg)
        assert np.isfinite(found).all() and (found >= 0).all() and found.max() <= 1e-3 + ROUNDING


@pytest.mark.parametrize("name", ["infinite", "wsd"])
def test_later_data_sets_are_not_warmed_up_again(name: str) -> None:
    schedule = made(name, peak=PEAK)
    first, second, third = schedule.legs((100, 50, 100))
    stays = PEAK * (0.5 if name == "infinite" else 1.0)
    for leg in (second, third):
        assert rates(leg.trunk) == pytest.approx(stays)
    assert rates(first.trunk)[-1] == pytest.approx(rates(second.trunk)[0])  # from before the anneal
    assert rates(first.anneal).min() < 0.1 * stays
    # The negative control: a repeated cosine is warmed up again.
    _, again = made("repeated_cosine", peak=PEAK).legs((100, 50))
    found = rates(again.trunk)
    assert found[0] < 0.02 * PEAK and found.max() == pytest.approx(PEAK)


def test_later_peaks_of_a_repeated_cosine_may_be_lower() -> None:
    first, second = made("repeated_cosine", peak=PEAK, again=0.25).legs((100, 100))
    assert rates(first.trunk).max() == pytest.approx(PEAK)
    assert rates(second.trunk).max() == pytest.approx(PEAK / 4)


@pytest.mark.parametrize("name", ["linear", "cosine", "inverse_sqrt", "constant"])
def test_one_curve_over_all_data_sets_does_not_see_their_borders(name: str) -> None:
    # A share is of the first data set: half as much of one twice as long.
    knobs = {"timescale": 0.2} if name == "inverse_sqrt" else {}
    halves = {"timescale": 0.1} if name == "inverse_sqrt" else {}
    legs = made(name, warm_up=0.2, **knobs).legs((60, 60))
    found = np.concatenate([whole(leg) for leg in legs])
    np.testing.assert_array_equal(found, one(name, 120, warm_up=0.1, **halves))


# -------------------------------------------------------------------------------- canonical forms


@pytest.mark.parametrize(
    ("tree", "simpler"),
    [
        ({"is": "schedules/infinite", "level": 1.0, "cool_down": 0.6}, "wsd"),
        ({"is": "schedules/cosine", "waves": 0.0, "floor": 0.1}, "constant"),
    ],
)
def test_equal_writings_are_merged(tree: dict[str, Any], simpler: str) -> None:
    schedule: Any = from_tree(tree, "schedules")
    merged: Any = canonical(schedule)
    assert merged.tag() == f"schedules/{simpler}"
    for before, after in zip(schedule.legs((50, 50)), merged.legs((50, 50)), strict=True):
        np.testing.assert_allclose(whole(before), whole(after), rtol=0, atol=ROUNDING)


@pytest.mark.parametrize("name", ["infinite", "wsd"])
@pytest.mark.parametrize("knobs", [{"floor": 1.0}, {"anneal": 0.0}])
def test_the_shape_of_what_does_not_fall_is_inert(name: str, knobs: dict[str, float]) -> None:
    trees = []
    for shape in ANNEALS:
        schedule: Any = made(name, shape=shape, **knobs)
        merged: Any = canonical(schedule)
        trees.append(to_tree(merged))
        for before, after in zip(schedule.legs((50, 50)), merged.legs((50, 50)), strict=True):
            np.testing.assert_allclose(whole(before), whole(after), rtol=1e-14, atol=0)
    assert all(tree == trees[0] for tree in trees)
