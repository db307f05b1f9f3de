"""The presets, on the real components."""

from __future__ import annotations

from random import Random
from typing import Any

import pytest

from paretoken.search.decisions import Decisions
from paretoken.spaces.candidate import from_tree, to_tree
from paretoken.spaces.canonical import canonical
from paretoken.spaces.derive import derive
from paretoken.spaces.narrowing import parse_setting
from paretoken.spaces.settings import dumps
from paretoken.spaces.space import Space, load, preset_names


@pytest.fixture(autouse=True)
def toys() -> None:
    """In place of the toys of the other tests here: nothing."""


@pytest.mark.parametrize("name", preset_names())
def test_every_preset_can_be_stored_and_every_draw_of_it_run(name: str) -> None:
    space = load(name)
    assert Space.from_json(space.to_json()) == space
    decisions, rng = Decisions(space), Random(0)
    for _ in range(20):
        tree = decisions.tree(decisions.random(rng))
        candidate = from_tree(tree)
        assert to_tree(candidate) == tree
        assert canonical(canonical(candidate)) == canonical(candidate)


def test_the_small_preset_is_small_but_has_many_different_laws() -> None:
    decisions = Decisions(load("fashion-small"))
    assert decisions.count < 500
    trees = [decisions.tree(decisions.nth(index)) for index in range(int(decisions.count))]
    verifiers: set[str] = set()
    for tree in trees:
        decoder: Any = to_tree(canonical(from_tree(tree)))["decoder"]
        assert decoder["drafter"]["window"] in (4, 8, 16)
        verifiers.add(dumps({"verifier": decoder["verifier"], "residual": decoder["residual"]}))
    assert len(verifiers) > 10


def test_settings_of_the_command_line_reach_the_real_components() -> None:
    space = Space(derive(modality="image")).fix("decoder", "speculative")
    for text in ("decoder.window=8,16", "decoder.verifier=exact,grouped", "grouped.size=1..4"):
        space = space.narrow(*parse_setting(text))
    decoder: Any = space.tree["decoder"]
    assert [option["is"] for option in decoder["verifier"]["oneof"]] == [
        "verifiers/exact",
        "verifiers/grouped",
    ]
    assert decoder["verifier"]["oneof"][1]["size"] == {"oneof": [1, 2, 3, 4]}
    assert decoder["drafter"]["oneof"][0]["window"] == {"oneof": [8, 16]}
