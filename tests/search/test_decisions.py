"""The walker against PyGlove, on a space with every kind of decision, and its own promises."""

from __future__ import annotations

import itertools
import math
from collections import Counter
from random import Random
from statistics import median
from typing import Any

import pyglove as pg
import pytest

from paretoken.search.decisions import Decisions
from paretoken.spaces.candidate import to_tree
from paretoken.spaces.component import Component, knob, part
from paretoken.spaces.errors import BadValue
from paretoken.spaces.settings import dumps
from paretoken.spaces.space import Space


class Plain(Component):
    __module__ = "toys.plain"
    kind = "drafters"


class Jacobi(Component):
    __module__ = "toys.jacobi"
    kind = "drafters"

    window: int = knob(2, low=1, high=64, doc="")
    init: str = knob("a", among=("a", "b", "c"), doc="")


class Skip(Component):
    __module__ = "toys.skip"
    kind = "drafters"

    layers: list = knob([0, 1, 2], among=tuple(range(6)), many=3, doc="")
    one: list = knob([7], among=(7, 8, 9), many=1, doc="")
    rate: float = knob(0.1, low=1e-5, high=1.0, log=True, doc="")


class Loop(Component):
    __module__ = "toys.loop"
    kind = "decoders"

    warm: float = knob(1.0, low=0.0, high=2.0, doc="")
    drafter: Component = part("drafters", default="plain", doc="")
    flag: bool = knob(True, doc="")
    after: Component = part("drafters", default="plain", doc="")


def _drafters(continuous: bool) -> Any:
    rate = pg.floatv(1e-5, 1e-1, scale="log") if continuous else pg.oneof([1e-3, 1e-2])
    return pg.oneof(
        [
            Jacobi(window=pg.oneof([2, 8, 32]), init=pg.oneof(["a", "b", "c"])),
            Plain(),
            Skip(
                layers=pg.manyof(3, [0, 1, 2, 4, 5], sorted=True),
                one=pg.manyof(1, [7, 9]),
                rate=rate,
            ),
        ]
    )


def _space(continuous: bool = True) -> Space:
    return Space(
        Loop(
            warm=pg.oneof([0.5, pg.floatv(1.0, 2.0)]) if continuous else pg.oneof([1, 2.0, 0.5]),
            drafter=_drafters(continuous),
            flag=pg.oneof([False, True]),
            after=_drafters(continuous),
        )
    )


@pytest.fixture(scope="module", params=[True, False], ids=["continuous", "finite"])
def space(request: pytest.FixtureRequest) -> Space:
    return _space(request.param)


@pytest.fixture(scope="module")
def decisions(space: Space) -> Decisions:
    return Decisions(space)


def test_points_are_those_of_pyglove_in_its_order(space: Space, decisions: Decisions) -> None:
    ids = [str(point.id).replace("/", ":") for point in space.dna_spec.decision_points]
    assert [point.name for point in decisions.points] == ids
    assert len(set(ids)) == len(ids)
    assert decisions.conditional
    size = space.dna_spec.space_size
    assert decisions.count == space.size == (math.inf if size == -1 else size)


def test_random_dna_decode_to_what_pyglove_decodes(space: Space, decisions: Decisions) -> None:
    rng, template = Random(1), pg.template(space.root)
    for _ in range(50):
        dna = pg.random_dna(space.dna_spec, rng)
        numbers = decisions.from_dna(dna)
        tree = decisions.tree(numbers)
        assert dumps(tree) == dumps(to_tree(template.decode(dna)))
        assert decisions.numbers(tree) == numbers
        assert decisions.dna(numbers) == dna
        assert decisions.dna([float(number) for number in numbers]) == dna  # as stores return them


def test_every_way_to_numbers_gives_a_legal_candidate(decisions: Decisions) -> None:
    rng = Random(2)
    for _ in range(300):
        drawn = decisions.random(rng)
        decided = decisions.decide(lambda point: point.draw(rng))
        for numbers in (drawn, decided):
            assert decisions.numbers(decisions.tree(numbers)) == numbers
            choices = decisions.choices(numbers)
            assert decisions.decide(lambda point: choices[point.name]) == numbers  # noqa: B023


def test_an_index_enumerates_each_candidate_once() -> None:
    decisions = Decisions(_space(continuous=False))
    everything = [decisions.nth(index) for index in range(int(decisions.count))]
    assert len({dumps(decisions.tree(numbers)) for numbers in everything}) == decisions.count
    assert everything == sorted(everything)


def test_lists_are_drawn_uniformly() -> None:
    decisions = Decisions(
        Space(Skip(layers=pg.manyof(2 + 1, [0, 1, 2, 4, 5], sorted=True), one=[7]))
    )
    rng = Random(3)
    drawn = Counter(decisions.random(rng) for _ in range(10_000))
    assert set(drawn) == set(itertools.combinations(range(5), 3))
    # Binomial(10 000, 1/10) has a standard deviation of 30; five of them for ten combinations.
    assert all(abs(count - 1000) < 150 for count in drawn.values())


def test_log_floats_are_drawn_log_uniformly() -> None:
    decisions = Decisions(Space(Skip(rate=pg.floatv(1e-5, 1e-1, scale="log"), one=[7])))
    rng = Random(4)
    middle = median(math.log10(decisions.random(rng)[0]) for _ in range(2000))
    # The median of n uniform draws has a standard deviation of range / (2 sqrt(n)) = 0.045 here.
    assert abs(middle - -3.0) < 5 * 0.045


def test_what_can_be_ordered_is_known() -> None:
    ordered = {p.name: p.ordered for p in Decisions(_space(continuous=False)).points}
    assert ordered["drafter[=0:3].window"] and ordered["drafter[=2:3].layers[1]"]
    assert not ordered["drafter"] and not ordered["drafter[=0:3].init"] and not ordered["flag"]
    assert not ordered["warm"]  # 1.0, 2.0, 0.5


@pytest.mark.parametrize(
    "numbers",
    [
        (),
        (0, 1, 0),
        (0, 1, 0, 1, 0),
        (3, 1, 0, 1),
        (-1, 1, 0, 1),
        (0.5, 1, 0, 1),
        (0, 2, 0, 2, 1, 0, 0, 0, 1),  # a list that is not increasing
        (0, 2, 0, 1, 1, 0, 0, 0, 1),  # nor has different members
        (math.nan, 1, 0, 1),
        (math.inf, 1, 0, 1),
    ],
)
def test_numbers_of_another_space_are_refused(numbers: tuple[float, ...]) -> None:
    decisions = Decisions(_space(continuous=False))
    assert decisions.tree((0, 1, 0, 1))
    with pytest.raises(BadValue):
        decisions.tree(numbers)
    with pytest.raises(BadValue):
        decisions.dna(numbers)


@pytest.mark.parametrize("number", [0.99, 2.01, math.nan, math.inf, -math.inf])
def test_floats_out_of_range_are_refused(number: float) -> None:
    with pytest.raises(BadValue, match=r"from 1\.0 to 2\.0"):
        Decisions(_space()).tree((1, number, 1, 0, 1))


def test_settings_of_another_space_are_refused() -> None:
    decisions = Decisions(_space(continuous=False))
    tree = decisions.tree((0, 0, 0, 0, 0, 1))
    for change in (
        {"warm": 1.5},
        {"flag": 0},  # 0 == False, but it is another value
        {"after": {"is": "drafters/other"}},
        {"after": {"is": "drafters/jacobi", "window": 4, "init": "a"}},
        {"after": {"is": "drafters/jacobi", "window": 2}},
        {"more": 1},
        {"after": None},
    ):
        with pytest.raises(BadValue, match="not in this space"):
            decisions.numbers({**tree, **change})


def test_a_space_without_decisions_has_one_candidate() -> None:
    decisions = Decisions(Space(Plain()))
    assert decisions.count == 1 and not decisions.conditional and decisions.points == ()
    assert decisions.tree(()) == {"is": "drafters/plain"}
    assert decisions.random(Random(0)) == decisions.nth(0) == ()
    assert decisions.from_dna(decisions.dna(())) == ()


def test_trees_are_fresh() -> None:
    decisions = Decisions(_space(continuous=False))
    decisions.tree((0, 1, 0, 1))["after"]["is"] = "changed"
    decisions.tree((0, 2, 0, 1, 2, 0, 0, 0, 1))["drafter"]["layers"].append(9)
    assert decisions.tree((0, 1, 0, 1))["after"] == {"is": "drafters/plain"}
    assert decisions.tree((0, 2, 0, 1, 2, 0, 0, 0, 1))["drafter"]["layers"] == [0, 1, 2]


def test_a_neighbour_differs_in_one_decision(decisions: Decisions) -> None:
    rng = Random(5)
    for _ in range(300):
        numbers = decisions.random(rng)
        before, after = decisions.tree(numbers), decisions.tree(decisions.neighbour(numbers, rng))
        changed = [field for field in before if before[field] != after[field]]
        assert len(changed) == 1
        old, new = before[changed[0]], after[changed[0]]
        if isinstance(old, dict) and old["is"] == new["is"]:
            assert sum(old[field] != new[field] for field in old) == 1


def test_what_cannot_change_is_its_own_neighbour() -> None:
    for layers in ([0, 1, 2], pg.manyof(3, [0, 1, 2], sorted=True)):
        decisions = Decisions(Space(Skip(layers=layers, one=[7])))
        numbers = decisions.random(Random(0))
        assert decisions.neighbour(numbers, Random(0)) == numbers
