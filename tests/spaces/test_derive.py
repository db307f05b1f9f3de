from __future__ import annotations

from typing import Any

import pyglove as pg
import pytest

from paretoken.spaces.component import Component, knob, part
from paretoken.spaces.derive import derive, points
from paretoken.spaces.errors import BadInput
from paretoken.spaces.space import Space

FIVE_OF_LOG = [1, 2, 3, 4, 6, 10, 16, 25, 40, 64]  # 64 ** (i / 9), rounded


@pytest.mark.parametrize(
    ("declared", "expected"),
    [
        (knob(True, doc=""), [False, True]),
        (knob("b", among=("b", "a"), doc=""), ["b", "a"]),
        (knob(4, low=1, high=99, grid=(8, 2), doc=""), [8, 2]),
        (knob(4, low=3, high=6, doc=""), [3, 4, 5, 6]),
        (knob(0, low=0, high=90, doc=""), [0, 10, 20, 30, 40, 50, 60, 70, 80, 90]),
        (knob(1, low=1, high=64, log=True, doc=""), FIVE_OF_LOG),
        (knob(0, low=0, high=3, log=True, doc=""), [0, 1, 2, 3]),
        (knob(7, low=7, high=7, doc=""), [7]),
        (knob(0.5, low=0, high=0.9, doc=""), [0.0, *(i / 10 for i in range(1, 9)), 0.9]),
        (knob(0.1, low=1e-9, high=1.0, log=True, doc=""), [10.0**i for i in range(-9, 1)]),
        (knob(3, low=1, doc=""), [3]),  # no upper bound: nothing to spread points over
    ],
)
def test_the_points_of_a_knob(declared: Any, expected: list[Any]) -> None:
    found = points(declared)
    assert found == expected
    assert {type(point) for point in found} == {type(declared.default)}


@pytest.mark.parametrize("log", [False, True])
@pytest.mark.parametrize("high", [2, 9, 10, 11, 37, 1000, 65536])
def test_a_range_gives_at_most_ten_legal_points_and_both_bounds(high: int, log: bool) -> None:
    for declared in (knob(1, low=1, high=high, log=log, doc=""),
                     knob(1.0, low=0.3, high=high + 0.1, log=log, doc="")):  # fmt: skip
        found = points(declared)
        assert 2 <= len(found) <= 10
        assert found == sorted({declared.check(point, "x") for point in found})
        assert [found[0], found[-1]] == [declared.low, declared.high]


def test_a_log_scale_through_zero_needs_a_grid() -> None:
    with pytest.raises(BadInput, match="grid"):
        points(knob(1.0, low=0.0, high=1.0, log=True, doc=""))


def test_knobs_exist_only_inside_the_plugin_that_has_them() -> None:
    ids = [str(point.id) for point in pg.dna_spec(derive()).decision_points]
    assert ids == [
        "decoder.drafter",
        "decoder.drafter[=0/3].window",
        "decoder.drafter[=0/3].coupling",
        "decoder.drafter[=2/3].layers[0]",
        "decoder.drafter[=2/3].layers[1]",
        "decoder.drafter[=2/3].rate",
        "decoder.verifier",
        "decoder.verifier[=1/2].size",
        "decoder.verifier[=1/2].strict",
        "sampling.temperature",
    ]
    # drafters: jacobi 10 * 3, none 1, skip 6 * 10; verifiers: exact 1, grouped 3 * 2; 10 warmths
    assert Space(derive()).size == (30 + 1 + 60) * (1 + 6) * 10


def test_a_single_choice_is_no_choice() -> None:
    root = derive()
    assert type(root.decoder).__name__ == "Speculative"
    assert root.runtime.batch == 1


def test_a_kind_or_a_tag_is_derived_alone() -> None:
    assert derive("drafters/jacobi").kind == "drafters"
    assert [option.tag() for option in derive("verifiers").candidates] == [
        "verifiers/exact",
        "verifiers/grouped",
    ]


def test_a_failing_plugin_is_reported_and_left_out(toys: dict[str, dict[str, Any]]) -> None:
    class Unspreadable(Component):
        __module__ = "toys.unspreadable"
        kind = "drafters"
        x: float = knob(1.0, low=0.0, high=1.0, log=True, doc="")

    whole = derive("drafters")
    toys["drafters"] |= {
        "broken": ImportError("no torch here"),
        "impostor": toys["verifiers"]["exact"],
        "unspreadable": Unspreadable,
    }
    reports: dict[str, Exception] = {}
    assert derive("drafters", reports.__setitem__) == whole
    assert sorted(reports) == ["drafters/broken", "drafters/impostor", "drafters/unspreadable"]
    del toys["drafters"]["impostor"], toys["drafters"]["unspreadable"]
    with pytest.warns(UserWarning, match="'drafters/broken' is left out: ImportError: no torch"):
        derive("drafters")


def test_a_kind_without_a_working_plugin_is_an_error(toys: dict[str, dict[str, Any]]) -> None:
    toys["samplings"]["standard"] = ImportError("gone")
    with pytest.warns(UserWarning), pytest.raises(BadInput, match="no plug-in of samplings works"):
        derive()


def test_a_component_never_holds_itself(toys: dict[str, dict[str, Any]]) -> None:
    class Tower(Component):
        __module__ = "toys.tower"
        kind = "drafters"
        above: Component = part("drafters", default="none", doc="")

    toys["drafters"]["tower"] = Tower
    inside = derive("drafters/tower").above.candidates
    assert [option.tag() for option in inside] == [
        "drafters/jacobi",
        "drafters/none",
        "drafters/skip",
    ]
