from __future__ import annotations

import math
from typing import Any

import pytest

from paretoken.spaces.candidate import from_tree, to_tree
from paretoken.spaces.component import knob
from paretoken.spaces.errors import BadInput, BadValue
from paretoken.spaces.plugins import component

WHOLE = knob(16, low=1, high=64, doc="")
REAL = knob(1.0, low=0.0, high=2.0, doc="")
NAME = knob("a", among=("a", "b"), doc="")
SIZE = knob(1.5, among=(1.0, 1.5), doc="")
FLAG = knob(True, doc="")
LIST = knob([1, 2], among=(3, 1, 2), many=2, doc="")


@pytest.mark.parametrize(
    ("declared", "value", "kept"),
    [
        (WHOLE, 64, 64),
        (REAL, 1, 1.0),
        (NAME, "b", "b"),
        (SIZE, 1, 1.0),
        (FLAG, False, False),
        (LIST, [3, 2], [3, 2]),
    ],
)
def test_legal_values_are_kept_in_the_knobs_own_type(declared: Any, value: Any, kept: Any) -> None:
    got = declared.check(value, "x")
    assert got == kept
    assert type(got) is type(kept)


@pytest.mark.parametrize(
    ("declared", "value"),
    [
        *((WHOLE, v) for v in (0, 65, 3.0, True, "8", None, [8], 10**400, math.nan)),
        *((REAL, v) for v in (-0.1, 2.1, True, "1", None, math.nan, math.inf, -math.inf)),
        *((NAME, v) for v in ("c", 0, None, True, ["a"], {})),
        (SIZE, True),  # True == 1.0
        *((FLAG, v) for v in (0, 1, "true", None)),
        *((LIST, v) for v in ([3], [2, 1], [1, 1], [1, 4], [3, 1, 2], "31", None, 3)),
    ],
)
def test_illegal_values_are_refused_with_the_range(declared: Any, value: Any) -> None:
    with pytest.raises(BadValue, match=r"^it\.x is (an? |one of|true|2 of).*; it cannot be "):
        declared.check(value, "it.x")


@pytest.mark.parametrize("value", [True, math.nan, math.inf, 65, "16"])
def test_a_component_is_never_made_with_an_illegal_value(value: Any) -> None:
    with pytest.raises((ValueError, TypeError)):
        component("drafters/jacobi")(window=value)
    with pytest.raises(BadValue, match="window is an integer from 1 to 64"):
        from_tree({"is": "drafters/jacobi", "window": value}, "drafters")


def test_a_list_knob_goes_to_json_and_back() -> None:
    tree = {"is": "drafters/skip", "layers": [1, 3], "rate": 0.5}
    found = to_tree(from_tree(tree, "drafters"))
    assert found == tree
    assert type(found["layers"]) is list


@pytest.mark.parametrize("tree", [5, "drafters/jacobi", None, [1], {"decoder": 5}])
def test_what_is_not_an_object_is_bad_input(tree: Any) -> None:
    with pytest.raises(BadInput, match="object in JSON"):
        from_tree(tree)


def test_a_plugin_whose_stored_tag_would_not_lead_back_to_it_is_refused(
    toys: dict[str, dict[str, Any]],
) -> None:
    toys["drafters"]["renamed"] = toys["drafters"]["jacobi"]
    with pytest.raises(BadInput, match="must be the same"):
        component("drafters/renamed")
