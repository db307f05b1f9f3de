"""A device that goes on by itself decodes the same, and is looked at only where it must be."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest
import torch

from paretoken.evaluators.engine import decode as module
from paretoken.evaluators.engine.capture import Look, Rounds
from paretoken.evaluators.engine.watch import Watch

JACOBI = {"is": "drafters/jacobi", "window": 4, "coupling": "gumbel"}
DECODERS: dict[str, dict[str, Any]] = {
    "plain": {},
    "jacobi": {"drafter": JACOBI},
    "adaptive": {"drafter": JACOBI, "length": {"is": "lengths/adaptive", "grow": 1}},
}


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What the engine does from now on: rounds and looks; the device is said to go on by itself."""
    told: list[str] = []
    run, look = Rounds.run, Rounds.look

    def runs(rounds: Rounds, window: int, guided: bool, least: int) -> None:
        told.append(f"round {window}")
        run(rounds, window, guided, least)

    def looks(rounds: Rounds) -> Look:
        told.append("look")
        return look(rounds)

    monkeypatch.setattr(Rounds, "run", runs)
    monkeypatch.setattr(Rounds, "look", looks)

    def ahead(session: Any, rounds: Rounds, **_: Any) -> Watch:
        return Watch(session, rounds, ahead=True)

    monkeypatch.setattr(module, "Watch", ahead)
    return told


@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize("decoder", DECODERS)
def test_going_on_changes_no_token(
    decoder: str, batch: int, toy_of: Any, run: Any, request: pytest.FixtureRequest
) -> None:
    again = partial(run, toy_of(vocabulary=3, length=12), DECODERS[decoder], 7, batch=batch)
    tokens, trace = again()
    told = request.getfixturevalue("seen")
    other, same = again()
    assert told
    assert torch.equal(tokens, other)
    for one, two in zip(trace.arrays(), same.arrays(), strict=True):
        assert (one == two).all()


def test_plain_decoding_is_looked_at_once_a_sample(toy_of: Any, run: Any, seen: list[str]) -> None:
    run(toy_of(vocabulary=3, length=12), {}, 5, batch=1)
    assert seen == ([*["round 1"] * 12, "look"]) * 5


def test_drafts_are_looked_at_only_once_they_may_have_ended(
    toy_of: Any, run: Any, seen: list[str]
) -> None:
    run(toy_of(vocabulary=3, length=12), {"drafter": JACOBI}, 1, batch=1)
    assert seen[:4] == ["round 4", "round 4", "round 4", "look"]


def test_a_changing_length_is_followed(toy_of: Any, run: Any, seen: list[str]) -> None:
    run(toy_of(vocabulary=3, length=12), DECODERS["adaptive"], 1, batch=1)
    rounds = [i for i, what in enumerate(seen) if what.startswith("round")]
    assert all(seen[i + 1] == "look" for i in rounds)


def test_guidance_that_ends_is_followed(toy_of: Any, run: Any, seen: list[str]) -> None:
    toy = toy_of(vocabulary=3, length=12)
    run(toy, {}, 1, batch=1, sampling={"cfg": 2.0, "cfg_interval": 3})
    assert seen.count("look") == seen.count("round 1")
    seen.clear()
    run(toy, {}, 1, batch=1, sampling={"cfg": 2.0})
    assert seen.count("look") == 1
