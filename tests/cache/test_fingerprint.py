"""Keys follow from what a candidate does, and near-ties do not flip them unnoticed."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from paretoken.cache.fingerprint import (
    CELL,
    cost_key,
    fingerprint,
    on_grids,
    quality_key,
    transcript,
)
from paretoken.spaces.errors import BadValue
from paretoken.spaces.workload import Behaviour

LAW = np.array([[0.25, 0.75], [0.5, 0.5]])
RULE = np.array([[1.0, 0.3], [0.2, 1.0]])
LOSSY = Behaviour(
    context={"model": "m", "dtype": "float32"},
    target=(LAW,),
    drafting={"drafter": {"is": "drafters/jacobi", "window": 16}},
    rule=(RULE,),
    lossless=False,
    evidence={"lossless": "no"},
    conditions={},
    runtime={"batch": 1},
)
LOSSLESS = replace(LOSSY, lossless=True)


def test_known_answers() -> None:
    # Written down once. If one of them changes, every stored key is void: raise VERSION instead.
    assert on_grids([LAW]) == (
        "187c48b04768a2411906919e75ede587",
        "187c48b04768a2411906919e75ede587",
    )
    assert fingerprint(LOSSY, b"rows").work[0] == "a45b75d8b4da37ccd4909206f58a3109"
    assert quality_key("a", {"n": 1000}) == "f5b457779e099fe8bd43858092823898"
    assert (
        transcript(np.arange(6).reshape(2, 3), of={"seed": 1}) == "15c1f33d4f04186e97b4a02c8745f5ce"
    )


@pytest.mark.parametrize(
    "change",
    [
        {"context": {"model": "m", "dtype": "bfloat16"}},
        {"target": (LAW + np.array([[0.01, -0.01], [0, 0]]),)},
        {"target": (LAW.reshape(1, 4),)},
        {"drafting": {"drafter": {"is": "drafters/jacobi", "window": 8}}},
        {"rule": (RULE + 2 * CELL,)},
        {"rule": ()},
        {"lossless": True},
    ],
)
def test_a_lossy_law_rests_on_all_that_decides_it(change: dict[str, Any]) -> None:
    one, other = fingerprint(LOSSY, b"rows"), fingerprint(replace(LOSSY, **change), b"rows")
    assert not set(one.quality) & set(other.quality)


def test_lossless_decoders_of_one_target_share_a_law_and_not_their_work() -> None:
    one = fingerprint(LOSSLESS, b"rows")
    for change in ({"rule": ()}, {"drafting": {}}, {"rule": (RULE / 2,)}):
        other = fingerprint(replace(LOSSLESS, **change), b"rows")  # type: ignore[arg-type]
        assert other.quality == one.quality and not set(other.work) & set(one.work)
    assert fingerprint(replace(LOSSLESS, target=(LAW[::-1],)), b"rows").quality != one.quality


def test_the_runtime_decides_the_work_alone() -> None:
    one = fingerprint(LOSSY, b"rows")
    other = fingerprint(replace(LOSSY, runtime={"batch": 2}), b"rows")
    assert other.quality == one.quality and not set(other.work) & set(one.work)


def test_other_recorded_rows_are_another_context() -> None:
    one, other = fingerprint(LOSSY, b"rows"), fingerprint(LOSSY, b"others")
    assert one.context != other.context and not set(one.quality) & set(other.quality)


def test_rounding_flips_one_grid_at_most() -> None:
    """A value on an edge of the first grid: rounding moves it across, and the second holds."""
    edge = np.array([5 * CELL, 0.3])
    above, below = on_grids([edge]), on_grids([edge - 1e-15])
    assert above[0] != below[0] and above[1] == below[1]
    half = np.array([5.5 * CELL, 0.3])
    above, below = on_grids([half]), on_grids([half - 1e-15])
    assert above[0] == below[0] and above[1] != below[1]


def test_of_many_noisy_runs_one_grid_agrees_nearly_always() -> None:
    """4e5 values with float64's noise: each crosses an edge of one grid with probability
    2 * 1e-15 / CELL = 2e-9, so a run flips a given grid with 8e-4 and both with 6e-7.
    """
    generator = np.random.default_rng(0)
    values = generator.random(400_000)
    reference = on_grids([values])
    for _ in range(20):
        noisy = on_grids([values + generator.normal(scale=1e-16, size=values.shape)])
        assert noisy[0] == reference[0] or noisy[1] == reference[1]
    far = on_grids([values + CELL])  # the control: a difference that counts flips both
    assert not set(far) & set(reference)


def test_what_equals_nothing_is_refused_and_zero_has_no_sign() -> None:
    for value in (np.nan, np.inf):
        with pytest.raises(BadValue, match="NaN or infinity"):
            on_grids([np.array([value])])
    assert on_grids([np.array([-0.0])]) == on_grids([np.array([0.0])])


def test_transcripts_are_exact() -> None:
    tokens = np.arange(6).reshape(2, 3)
    assert transcript(tokens) == transcript(tokens.astype(np.int32))
    others = [tokens + 1, tokens.reshape(3, 2), tokens.ravel()]
    digests = {transcript(tokens), transcript(tokens, of="x"), transcript(tokens, tokens)}
    assert len(digests | {transcript(other) for other in others}) == 6


def test_every_part_of_a_reuse_key_counts() -> None:
    assert len({quality_key("a", {}), quality_key("b", {}), quality_key("a", {"n": 1})}) == 3
    costs = {
        cost_key("a", "t", {"batch": 1}),
        cost_key("b", "t", {"batch": 1}),
        cost_key("a", "u", {"batch": 1}),
        cost_key("a", "t", {"batch": 2}),
        quality_key("a", {}),
    }
    assert len(costs) == 5
