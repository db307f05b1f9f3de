"""Keys are the same everywhere and for ever, and differ where behaviour may."""

from __future__ import annotations

import itertools
import math
import os
import subprocess
import sys

import pytest

from paretoken.cache.fingerprint import (
    candidate_id,
    cost_key,
    digest,
    quality_key,
    stable_json,
)
from paretoken.spaces.errors import BadValue

TREE = {
    "decoder": {"is": "decoders/speculative", "drafter": {"is": "drafters/jacobi", "window": 16}},
    "sampling": {"is": "samplings/standard", "temperature": 0.9},
}


def test_known_answers() -> None:
    # Written down once. If one of them changes, every stored key is void: raise _VERSION instead.
    assert digest() == "d48ac7d793783fda802d1690e69735e4"
    assert digest("a", b"\x00\xff") == "7803523c10fb5e253ee28e3a6775f2ca"
    assert candidate_id(TREE) == "c219fb5f152934f88a4b054b3e7f57ff"
    quality = quality_key("weights+prompts", "float32", TREE["sampling"], {"n": 1000})
    assert quality == "cf8ba194053a9672aed5666ec97860ba"
    assert cost_key(quality, {"batch": 64}, TREE["decoder"]) == "a310aedceb2500949f8dc2538196b327"


def test_another_process_finds_the_same_key_whatever_its_hash_seed() -> None:
    script = (
        "from paretoken.cache.fingerprint import quality_key, candidate_id\n"
        f"print(quality_key('i', 'bf16', {TREE!r}, {{'n': 5}}), candidate_id({TREE!r}))"
    )
    here = f"{quality_key('i', 'bf16', TREE, {'n': 5})} {candidate_id(TREE)}"
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


def test_every_part_of_a_key_counts() -> None:
    plain = ("identity", "float32", {"top_k": 0}, {"n": 1000})
    changes = [("other",), ("bfloat16",), ({"top_k": 5},), ({"n": 999},)]
    keys = {quality_key(*plain)}
    for place, change in enumerate(changes):
        keys.add(quality_key(*plain[:place], *change, *plain[place + 1 :]))
    assert len(keys) == 5
    quality = quality_key(*plain)
    costs = {
        cost_key(quality, {"batch": 1}, {}),
        cost_key(quality, {"batch": 2}, {}),
        cost_key(quality, {"batch": 1}, {"window": 2}),
        cost_key("0" * 32, {"batch": 1}, {}),
        cost_key(quality, {}, {"batch": 1}),
        quality,
    }
    assert len(costs) == 6
