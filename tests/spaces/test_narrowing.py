from __future__ import annotations

from typing import Any

import pytest

from paretoken.spaces.derive import derive
from paretoken.spaces.errors import BadInput, BadValue, UnknownName
from paretoken.spaces.narrowing import parse_setting
from paretoken.spaces.space import Space


@pytest.fixture
def space(toys: Any) -> Space:
    return Space(derive())


def _at(space: Space, *way: str | int) -> Any:
    node: Any = space.tree
    for step in way:
        node = node["oneof"][step] if isinstance(step, int) else node[step]
    return node


JACOBI = ("decoder", "drafter", 0)


@pytest.mark.parametrize(
    "path",
    [
        "decoder.drafter.window",
        "decoder.window",
        "drafter.window",
        "jacobi.window",
        "speculative.jacobi.window",
        "decoder.speculative.drafter.jacobi.window",
        "window",
    ],
)
def test_a_path_names_ancestors_in_order_and_may_leave_some_out(space: Space, path: str) -> None:
    narrow = space.narrow(path, ("16", "8"))
    assert _at(narrow, *JACOBI, "window") == {"oneof": [8, 16]}
    narrow.tree["decoder"]["drafter"]["oneof"][0]["window"] = _at(space, *JACOBI, "window")
    assert narrow.tree == space.tree  # nothing else changed


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("decoder.windw", "Did you mean 'decoder.drafter.window'"),
        ("jacobi.windov", "Did you mean 'jacobi.window'"),
        ("drafter.decoder.window", "decoder.drafter.window"),  # wrong order
        ("skip.window", r"Known: .*skip\.rate"),
        ("sampling.window", "no setting of this space is called 'sampling.window'"),
        ("decoder.jacobi", "decoder.drafter"),  # a plug-in is a value, not a path's last name
    ],
)
def test_an_unknown_path_is_answered_with_real_ones(space: Space, path: str, message: str) -> None:
    with pytest.raises(UnknownName, match=message):
        space.fix(path, "1")


@pytest.mark.parametrize(
    ("path", "values", "written"),
    [
        ("jacobi.window", ("7",), 7),  # off the grid, but legal
        ("jacobi.window", ("4..6", "9"), {"oneof": [4, 5, 6, 9]}),
        ("jacobi.window", (16, 8, 16), {"oneof": [8, 16]}),
        ("jacobi.coupling", ("gumbel", "none"), {"oneof": ["none", "gumbel"]}),
    ],
)
def test_values_are_read_as_the_knobs_type(
    space: Space, path: str, values: tuple[Any, ...], written: Any
) -> None:
    assert _at(space.narrow(path, values), *JACOBI, path.partition(".")[2]) == written


def test_floats_flags_and_lists_are_read_too(space: Space) -> None:
    assert space.fix("temperature", "1").tree["sampling"]["temperature"] == 1.0
    assert type(space.fix("temperature", "1").tree["sampling"]["temperature"]) is float
    low = space.narrow("temperature", ("5e-1..1.5",)).tree["sampling"]["temperature"]
    assert low == {"float": {"low": 0.5, "high": 1.5, "log": False}}
    rate = space.narrow("rate", ("0.01..0.1",)).narrow("layers", "320")
    assert _at(rate, "decoder", "drafter", 2) == {
        "is": "drafters/skip",
        "layers": {"manyof": {"count": 2, "among": [0, 2, 3]}},
        "rate": {"float": {"low": 0.01, "high": 0.1, "log": True}},
    }
    assert _at(space.narrow("layers", "31"), "decoder", "drafter", 2, "layers") == [1, 3]
    assert _at(space.fix("strict", "False"), "decoder", "verifier", 1, "strict") is False


@pytest.mark.parametrize(
    ("path", "values", "message"),
    [
        ("jacobi.window", ("65",), r"jacobi\.window is an integer from 1 to 64; it cannot be '65'"),
        ("jacobi.window", ("8", "0"), "from 1 to 64"),
        ("jacobi.window", ("8.0",), "an integer"),
        ("jacobi.window", ("many",), "'many'"),
        ("jacobi.window", (True,), "True"),
        ("jacobi.window", ("9..4",), "goes upwards"),
        ("jacobi.window", ("..4",), "from 1 to 64"),
        ("grouped.size", ("1..1024",), "at most 256"),
        ("jacobi.coupling", ("max",), "one of none, maximal, gumbel"),
        ("temperature", ("nan",), "from 0.0 to 2.0"),
        ("temperature", ("inf",), "from 0.0 to 2.0"),
        ("temperature", ("0.5..1", "2"), "stands alone"),
        ("strict", ("1",), "true or false"),
        ("layers", ("1",), "needs 2 values"),
        ("layers", ("1", "7"), "it cannot be '7'"),
        ("decoder.verifier", ("exakt",), "Did you mean 'exact'"),
    ],
)
def test_illegal_values_are_refused_with_the_legal_range(
    space: Space, path: str, values: tuple[Any, ...], message: str
) -> None:
    with pytest.raises(BadInput, match=message):
        space.narrow(path, values)


def test_a_part_is_narrowed_to_plugins_and_keeps_what_was_narrowed_inside(space: Space) -> None:
    narrow = space.fix("jacobi.window", 8).narrow("decoder.drafter", ("none", "jacobi"))
    assert [option["is"] for option in _at(narrow, "decoder", "drafter")["oneof"]] == [
        "drafters/jacobi",
        "drafters/none",
    ]
    assert _at(narrow, *JACOBI, "window") == 8
    alone = narrow.fix("drafter", "drafters/jacobi")
    assert alone.tree["decoder"]["drafter"]["window"] == 8


def test_a_part_may_be_given_a_plugin_that_was_not_in_the_space(space: Space) -> None:
    back = space.fix("decoder.verifier", "exact").narrow("decoder.verifier", ("exact", "grouped"))
    assert back == space


def test_every_owner_of_a_name_is_narrowed(toys: dict[str, dict[str, Any]]) -> None:
    jacobi = toys["drafters"]["jacobi"]
    toys["drafters"]["other"] = type("Other", (jacobi,), {"__module__": "toys.other"})
    space = Space(derive()).fix("decoder.window", 8)
    windows = [o["window"] for o in _at(space, "decoder", "drafter")["oneof"] if "window" in o]
    assert windows == [8, 8]
    one = Space(derive()).fix("other.window", 8)
    assert _at(one, *JACOBI, "window") != 8


def test_the_space_itself_is_unchanged(space: Space) -> None:
    before = space.to_json()
    space.fix("decoder.drafter", "jacobi").fix("jacobi.window", 8)
    assert Space(derive()).to_json() == before == Space(space.root).to_json()


@pytest.mark.parametrize(
    ("text", "parsed"),
    [
        ("decoder.window=8,16", ("decoder.window", ("8", "16"))),
        (" decoder.window = 8 , 16 ", ("decoder.window", ("8", "16"))),
        ("window=8..16", ("window", ("8..16",))),
    ],
)
def test_a_setting_is_parsed(text: str, parsed: tuple[str, tuple[str, ...]]) -> None:
    assert parse_setting(text) == parsed


@pytest.mark.parametrize(
    "text", ["", "window", "=8", "window=", "window=8,", "window=,8", "a..b=1"]
)
def test_a_broken_setting_is_shown_how(text: str) -> None:
    with pytest.raises(BadInput, match="PATH=VALUE"):
        parse_setting(text)


def test_bad_values_are_told_from_unknown_names(space: Space) -> None:
    with pytest.raises(BadValue):
        space.fix("jacobi.window", "65")
    with pytest.raises(UnknownName):
        space.fix("decoder.verifier", "none-such")
