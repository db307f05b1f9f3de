"""Digests are the same everywhere and for ever, and differ where what they are of does."""

from __future__ import annotations

import itertools
import math
import os
import subprocess
import sys

import pytest

from paretoken.cache.digest import candidate_id, digest, stable_json
from paretoken.spaces.errors import BadValue

TREE = {
    "decoder": {"is": "decoders/speculative", "drafter": {"is": "drafters/jacobi", "window": 16}},
    "sampling": {"is": "samplings/standard", "temperature": 0.9},
}


def test_known_answers() -> None:
    # Written down once. If one of them changes, every stored key is void: raise VERSION instead.
    assert digest() == "b322a3c5b0aa2228aa16e3ae937815b3"
    assert digest("a", b"\x00\xff") == "d3c4c8081050eff6966469873df084b6"
    assert candidate_id(TREE) == "c219fb5f152934f88a4b054b3e7f57ff"


def test_another_process_finds_the_same_digests_whatever_its_hash_seed() -> None:
    script = (
        "from paretoken.cache.digest import candidate_id, digest, stable_json\n"
        f"print(digest('i', stable_json({TREE!r})), candidate_id({TREE!r}))"
    )
    here = f"{digest('i', stable_json(TREE))} {candidate_id(TREE)}"
    for seed in "12":
        there = subprocess.run(
            [sys.executable, "-c", script],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        )
        assert there.stdout.strip() == here


def test_no_two_lists_of_parts_share_a_digest() -> None:
    parts: list[tuple[str | bytes, ...]] = [
        (), ("",), ("", ""), ("ab",), ("a", "b"), ("", "ab"), (b"ab",), (b"a", "b"), ("a\0b",),
    ]  # fmt: skip
    digests = [digest(*each) for each in parts]
    assert len(set(digests)) == len(parts)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"a": 1, "b": 2}, {"b": 2, "a": 1}),
        ([1, 2], (1, 2)),
        (1, 1.0),
        (0, -0.0),
        (0.3, 0.1 + 0.2),
        (1.0, 1 - 1e-15),
        ({"x": [{"y": 1e-7}]}, {"x": ({"y": 0.0000001},)}),
    ],
)
def test_one_value_written_in_two_ways_has_one_text(one: object, other: object) -> None:
    assert stable_json(one) == stable_json(other)


def test_different_values_have_different_texts() -> None:
    values: list[object] = [
        None, True, False, 1, 0, -1, 0.5, 0.500000000001, 1e300, math.inf, -math.inf, 10**15,
        10**15 + 1, "1", "inf", "Infinity", "", [], {}, [[]], [1], ["1"], {"1": 1}, {"1": [1]},
    ]  # fmt: skip
    for one, other in itertools.combinations(values, 2):
        assert stable_json(one) != stable_json(other), (one, other)


def test_what_equals_nothing_or_collides_is_refused() -> None:
    with pytest.raises(BadValue, match="NaN"):
        stable_json({"a": [math.nan]})
    with pytest.raises(BadValue, match="text keys"):
        stable_json({1: "a", "1": "b"})
