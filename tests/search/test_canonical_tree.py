"""Canonical trees: what components say, without building a whole candidate each time."""

from __future__ import annotations

import random
from typing import Any

import pytest

from paretoken.search.decisions import Decisions
from paretoken.spaces.candidate import Candidate, from_tree, to_tree
from paretoken.spaces.canonical import canonical, canonical_tree
from paretoken.spaces.component import Component
from paretoken.spaces.errors import BadInput, BadValue, UnknownName
from paretoken.spaces.settings import dumps, loads, summary
from paretoken.spaces.space import load


@pytest.mark.parametrize("space", ["image-decoding", "fashion-small", "schedules"])
def test_a_canonical_tree_is_that_of_the_canonical_candidate(space: str) -> None:
    decisions, chance = Decisions(load(space)), random.Random(0)
    for _ in range(200):
        tree = decisions.tree(decisions.random(chance))
        assert canonical_tree(tree) == to_tree(canonical(from_tree(tree)))


def test_parts_left_out_take_their_defaults() -> None:
    assert canonical_tree({}) == to_tree(canonical(from_tree({})))


@pytest.mark.parametrize(
    ("tree", "error"),
    [
        ({"decode": {}}, UnknownName),
        ({"decoder": {"is": "decoders/none"}}, UnknownName),
        ({"sampling": {"is": "samplings/standard", "temperature": -1.0}}, BadValue),
        ({"is": "candidates/nothing"}, UnknownName),
        ({"is": "drafters/none"}, BadInput),  # a part of a candidate
        ({"is": "candidates/training", "decoder": {}}, UnknownName),
    ],
)
def test_what_is_no_candidate_is_refused(tree: dict[str, Any], error: type[Exception]) -> None:
    for _ in range(2):  # an error is not remembered as an answer
        with pytest.raises(error):
            canonical_tree(tree)


def test_trees_are_the_callers_own() -> None:
    one = canonical_tree({})
    one["sampling"]["temperature"] = 9.0
    assert canonical_tree({})["sampling"]["temperature"] == 1.0


def test_a_candidate_has_no_rule_across_its_parts() -> None:
    assert Candidate.simplified is Component.simplified  # or canonical_tree would miss it


def test_a_root_of_its_own_says_what_it_is() -> None:
    tree: dict[str, Any] = canonical_tree({"is": "candidates/training"})
    assert tree["is"] == "candidates/training" and tree["schedule"]["is"].startswith("schedules/")
    assert loads(dumps(tree)) == tree
    assert canonical_tree(tree) == tree
    assert "repeated_cosine(again=1.0" in summary(tree)
    assert "is" not in canonical_tree({})  # as ever: ids of stored candidates stay
