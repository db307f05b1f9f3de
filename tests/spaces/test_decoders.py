"""The named decoders, on the real components."""

from __future__ import annotations

from typing import Any

import pytest

from paretoken.search.decisions import Decisions
from paretoken.spaces.candidate import from_tree, to_tree
from paretoken.spaces.canonical import canonical
from paretoken.spaces.decoders import NAMED, named_decoder
from paretoken.spaces.errors import UnknownName
from paretoken.spaces.plugins import KINDS
from paretoken.spaces.settings import dumps
from paretoken.spaces.space import Space, load

JACOBI_16 = {"is": "drafters/jacobi", "window": 16, "init": "random", "coupling": "none"}


@pytest.fixture(autouse=True)
def toys() -> None:
    """In place of the toys of the other tests here: nothing."""


@pytest.mark.parametrize("name", NAMED)
def test_every_named_decoder_builds_as_it_is_written_and_is_canonical(name: str) -> None:
    decoder = named_decoder(name)
    assert to_tree(decoder) == NAMED[name].tree
    assert canonical(decoder) == decoder


@pytest.mark.parametrize("name", NAMED)
def test_every_named_decoder_says_what_it_is_and_where_it_comes_from(name: str) -> None:
    named = NAMED[name]
    assert named.doc.endswith(".") and len(named.doc) <= 100
    assert named.source and not named.source.endswith(".")
    assert name not in KINDS["decoders"].names()  # one word never means two things


def test_named_decoders_all_behave_differently() -> None:
    trees = {dumps(to_tree(canonical(named_decoder(name)))) for name in NAMED}
    assert len(trees) == len(NAMED)


def test_plain_is_the_default_decoder_and_what_every_window_of_one_comes_to() -> None:
    assert named_decoder("plain") == from_tree({}).decoder
    alone = {**NAMED["lantern"].tree, "drafter": {**JACOBI_16, "window": 1}}
    drafter: Any = to_tree(canonical(from_tree(alone, "decoders")))["drafter"]
    assert drafter == {"is": "drafters/none"}


@pytest.mark.parametrize(
    ("name", "knobs"),
    [
        ("gsd", {"size": 1}),
        ("gsd", {"probability": 0.0}),
        ("gsd", {"distance": 0.0}),
        ("amplified", {"factor": 1.0}),
        ("lantern", {"k": 0}),
        ("lantern", {"bound": 0.0}),
        ("lantern++", {"bound": 1.0}),
    ],
)
def test_relaxations_switched_off_are_sjd(name: str, knobs: dict[str, Any]) -> None:
    """The identities of 3e and 4e: whatever relaxes nothing is speculative Jacobi decoding."""
    tree = NAMED[name].tree
    off = {**tree, "verifier": {**tree["verifier"], **knobs}}
    assert canonical(from_tree(off, "decoders")) == named_decoder("sjd")


def test_cool_sd_that_does_not_fade_is_amplified() -> None:
    tree = NAMED["cool-sd"].tree
    even = {**tree, "verifier": {**tree["verifier"], "delta": 3.0, "nu": 0.0}}
    assert canonical(from_tree(even, "decoders")) == named_decoder("amplified")


def test_a_space_can_be_narrowed_to_named_decoders() -> None:
    space = load("fashion-small").narrow("decoder", ("gsd", "sjd"))
    assert space.tree["decoder"] == {"oneof": [NAMED["sjd"].tree, NAMED["gsd"].tree]}
    assert Space.from_json(space.to_json()) == space
    assert space.fix("jacobi.window", 8).size == 2  # and then further, like any other


def test_named_decoders_and_plugins_may_be_mixed() -> None:
    small = load("fashion-small")
    mixed = small.narrow("decoder", ("lantern++", "speculative", "plain"))
    assert mixed.size == small.size + 2
    decoder: Any = mixed.tree["decoder"]
    assert decoder["oneof"][1:] == [NAMED["plain"].tree, NAMED["lantern++"].tree]


def test_a_decoder_of_neither_kind_is_answered_with_both() -> None:
    with pytest.raises(UnknownName, match="Did you mean 'gsd'") as caught:
        load("fashion-small").fix("decoder", "gds")
    assert "lantern++" in str(caught.value) and "speculative" in str(caught.value)
    with pytest.raises(UnknownName, match="Did you mean 'lantern'"):
        named_decoder("latern")


def test_the_preset_published_holds_each_for_images_once() -> None:
    decisions = Decisions(load("published"))
    trees = [decisions.tree(decisions.nth(i))["decoder"] for i in range(int(decisions.count))]
    assert trees == [named.tree for named in NAMED.values() if named.modality != "text"]
    assert {name for name, named in NAMED.items() if named.modality == "text"} == {
        "prompt-lookup", "aggressive", "gad++", "spectr", "typical",
    }  # fmt: skip
