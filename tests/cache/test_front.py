"""The front against a brute-force oracle, and what noise adds beside it."""

from __future__ import annotations

import itertools
import math
import random
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pytest

from paretoken.cache.front import hypervolume, indistinguishable, pareto_front
from paretoken.spaces.errors import BadInput, BadValue
from paretoken.spaces.objectives import Objective
from paretoken.spaces.records import Quantity

SPEED = Objective("speed", "x", higher=True, doc="")
FID = Objective("fid", "", higher=False, doc="")
GIB = Objective("gib", "GiB", higher=False, doc="")
BOTH = (SPEED, FID)


@dataclass(frozen=True)
class Measured:
    quantities: Mapping[str, Quantity]

    def values(self, objectives: Sequence[Objective] = BOTH) -> tuple[float, ...]:
        return tuple(self.quantities[o.name].value for o in objectives)


def at(speed: float, fid: float, *, s: float = 0.0, under: str = "N=1000") -> Measured:
    return Measured(
        {
            "speed": Quantity("speed", speed, s, 5),
            "fid": Quantity("fid", fid, s, 1000, higher=False, comparable=under),
        }
    )


def dominates(one: Measured, other: Measured, objectives: Sequence[Objective]) -> bool:
    pairs = [
        (o.loss(one.quantities[o.name].value), o.loss(other.quantities[o.name].value))
        for o in objectives
    ]
    return all(a <= b for a, b in pairs) and any(a < b for a, b in pairs)


def test_front_does_not_depend_on_the_order_of_arrival() -> None:
    fast, good, twin, slow, bad = at(4, 50), at(1, 40), at(1, 40), at(1, 50), at(3, 60)
    for order in itertools.permutations([fast, good, twin, slow, bad]):
        front = pareto_front(order, BOTH)
        assert [p.values() for p in front] == [(4, 50), (1, 40), (1, 40)]
        assert {id(p) for p in front} == {id(fast), id(good), id(twin)}


def test_a_tie_in_one_objective_is_dominance_by_the_other() -> None:
    assert pareto_front([at(2, 40), at(1, 40)], BOTH) == [at(2, 40)]
    assert pareto_front([at(2, 40), at(2, 41)], BOTH) == [at(2, 40)]


def test_no_points_have_no_front_and_no_volume() -> None:
    assert pareto_front([], BOTH) == []
    assert indistinguishable([], BOTH, []) == []
    assert hypervolume([], BOTH, {"speed": 0, "fid": 100}) == 0.0


@pytest.mark.parametrize("broken", [math.nan, math.inf, -math.inf])
def test_what_is_no_number_is_never_on_the_front_and_beats_nothing(broken: float) -> None:
    points = [at(broken, 40), at(2, broken), at(1, 50)]
    assert pareto_front(points, BOTH) == [at(1, 50)]
    assert indistinguishable(points, BOTH, [points[2]]) == []


def test_points_without_a_quantity_are_left_out() -> None:
    pending, half = Measured({}), Measured({"speed": Quantity("speed", 9, 0, 5)})
    assert pareto_front([pending, half, at(1, 50)], BOTH) == [at(1, 50)]


def test_values_under_different_conditions_are_refused_with_the_reason() -> None:
    points = [at(1, 50), at(2, 60), at(1, 90, under="N=500")]
    for asked in (
        lambda: pareto_front(points, BOTH),
        lambda: indistinguishable(points, BOTH, []),
        lambda: hypervolume(points, BOTH, {"speed": 0, "fid": 100}),
    ):
        with pytest.raises(BadInput, match=r"fid .* 2 under 'N=1000' but 1 under 'N=500'.*number"):
            asked()
    assert len(pareto_front(points, [SPEED])) == 1  # fid is not asked for


def test_a_front_needs_an_objective() -> None:
    with pytest.raises(BadInput, match="at least one objective"):
        pareto_front([at(1, 1)], [])


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("count", [1, 2, 3, 4])
def test_front_is_what_brute_force_finds(seed: int, count: int) -> None:
    draw = random.Random(seed)
    objectives = [Objective(f"o{i}", "", higher=bool(i % 2), doc="") for i in range(count)]
    # A coarse grid: of 60 points many tie in an objective and some are equal.
    points = [
        Measured({o.name: Quantity(o.name, draw.randint(0, 6) / 2, 0, 1) for o in objectives})
        for _ in range(60)
    ]
    expected = [p for p in points if not any(dominates(q, p, objectives) for q in points)]
    front = pareto_front(points, objectives)
    assert sorted(map(id, front)) == sorted(map(id, expected))
    best_first = [o.loss(v) for p in front for o, v in [(objectives[0], p.values(objectives)[0])]]
    assert best_first == sorted(best_first)


def test_a_point_within_the_noise_of_the_front_is_listed() -> None:
    best, close, far = at(2.0, 40, s=0.1), at(1.9, 40, s=0.1), at(1.0, 40, s=0.1)
    # 2 sqrt(0.1^2 + 0.1^2) = 0.283: a lead of 0.1 is noise, one of 1.0 is not.
    assert indistinguishable([far, close, best], BOTH, [best]) == [close]


def test_points_equal_to_the_front_in_value_are_on_it_and_not_listed() -> None:
    twins = [at(2, 40, s=1), at(2, 40, s=1)]
    assert indistinguishable(twins, BOTH, pareto_front(twins, BOTH)) == []


def test_a_slow_decoder_of_the_same_quality_is_not_listed() -> None:
    plain, jacobi = at(1.0, 42.0, s=0.05), at(2.6, 42.0, s=0.05)
    assert indistinguishable([plain, jacobi], BOTH, [jacobi]) == []


def test_a_point_off_the_front_can_be_the_one_that_beats_significantly() -> None:
    # The front's point is too noisy to beat `low` clearly; the exact one behind it is not.
    front = at(3.00, 40.0, s=1.0)
    exact = at(2.99, 40.0, s=0.0)
    low = at(2.50, 40.0, s=0.0)
    assert indistinguishable([front, low], BOTH, [front]) == [low]
    assert indistinguishable([front, exact, low], BOTH, [front]) == [exact]


@pytest.mark.parametrize("seed", range(20))
def test_indistinguishable_is_what_brute_force_finds(seed: int) -> None:
    draw = random.Random(seed)
    points = [
        at(draw.randint(2, 8) / 2, draw.randint(0, 8), s=draw.choice([0.0, 0.3, 1.0]))
        for _ in range(40)
    ]

    def clearly(one: Measured, other: Measured) -> bool:
        leads = []
        for o in BOTH:
            a, b = one.quantities[o.name], other.quantities[o.name]
            noise = 2 * math.sqrt(a.spread**2 + b.spread**2)
            leads.append(o.loss(b.value) - o.loss(a.value) > noise)
        return dominates(one, other, BOTH) and any(leads)

    front = pareto_front(points, BOTH)
    listed = indistinguishable(points, BOTH, front)
    expected = [p for p in points if not any(clearly(q, p) for q in points)]
    assert {id(p) for p in listed} == {id(p) for p in expected} - {id(p) for p in front}
    assert {id(p) for p in front} <= {id(p) for p in expected}  # the front is never doubted


def test_without_spreads_nothing_is_indistinguishable() -> None:
    draw = random.Random(3)
    points = [at(draw.random(), draw.random()) for _ in range(50)]
    points.append(at(*(v * (1 - 1e-15) for v in points[0].values())))
    assert indistinguishable(points, BOTH, pareto_front(points, BOTH)) == []


def test_volume_of_two_boxes() -> None:
    # From (speed 0, fid 10): 2 x 4, and what (1, 4) adds below it, 1 x 2.
    points = [at(2, 6), at(1, 4), at(1, 6), at(5, 11)]
    assert hypervolume(points, BOTH, {"speed": 0, "fid": 10}) == pytest.approx(10, rel=1e-12)


@pytest.mark.parametrize("seed", range(5))
def test_volume_is_what_counting_cells_finds(seed: int) -> None:
    draw = random.Random(seed)
    triple = (SPEED, FID, GIB)
    points = [
        Measured({o.name: Quantity(o.name, draw.randint(0, 8), 0, 1) for o in triple})
        for _ in range(8)
    ]
    cells = sum(
        any(p.values(triple)[0] > x and p.values(triple)[1] <= y and p.values(triple)[2] <= z
            for p in points)
        for x, y, z in itertools.product(range(8), repeat=3)
    )  # fmt: skip
    found = hypervolume(points, triple, {"speed": 0, "fid": 8, "gib": 8})
    assert found == pytest.approx(cells, abs=1e-9)


def test_volume_needs_a_finite_reference_for_each_objective() -> None:
    for reference in ({"speed": 0.0}, {"speed": 0.0, "fid": math.inf}):
        with pytest.raises(BadValue, match="'fid'"):
            hypervolume([at(1, 1)], BOTH, reference)


def test_importing_the_front_loads_nothing_heavy() -> None:
    script = "import sys, paretoken.cache.front; print(*sys.modules)"
    loaded = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    heavy = {"torch", "ray", "optuna", "numpy", "moocore", "sqlalchemy"}
    assert not heavy & set(loaded.stdout.split())
