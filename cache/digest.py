"""Digests of text, bytes and settings: the same in every process and on every platform.

xxh3-128 over a byte layout fixed here (never `pg.hash`, which changes per process). It is no
defence against a hostile input. A change of the layout needs a new `VERSION`: old keys then simply
never match again.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

import xxhash

from paretoken.spaces.errors import BadValue
from paretoken.spaces.settings import Tree, dumps

VERSION = b"paretoken fingerprint 2"

# Floats are compared to so many significant digits: far finer than any knob's grid, far coarser
# than what a detour through another representation of the same number may add (about 1e-16).
_DIGITS = 12


def digest(*parts: str | bytes) -> str:
    """The 32 hex digits of `parts` in order; text is hashed as UTF-8.

    Layout: the version tag, then for each part `s` (text) or `b` (bytes), its length in bytes as
    8 bytes little-endian, and the bytes. So no two different lists of parts share a layout.
    """
    state = xxhash.xxh3_128(VERSION)
    for part in parts:
        data = part.encode("utf-8", "surrogatepass") if isinstance(part, str) else part
        state.update(b"s" if isinstance(part, str) else b"b")
        state.update(len(data).to_bytes(8, "little"))
        state.update(data)
    return state.hexdigest()


def candidate_id(tree: Tree) -> str:
    """The name of a candidate's settings: xxh3-128 of their canonical JSON."""
    return xxhash.xxh3_128_hexdigest(dumps(tree).encode())


def stable_json(value: Any) -> str:
    """One text for everything that is the same value.

    Keys are sorted, tuples are lists, floats are rounded to 12 significant digits and written as
    shortly as they read back. A whole float below 10^12 is written as the integer it equals (so
    is -0.0): 1 and 1.0 are one number, which JSON from elsewhere may write either way, and a
    field's type is fixed by its component, so merging them cannot merge two behaviours. True is
    not 1. Infinities are kept; NaN equals nothing, so it raises BadValue.
    """
    return json.dumps(_normal(value), sort_keys=True, separators=(",", ":"))


def _normal(value: Any) -> Any:
    if isinstance(value, Mapping):
        for key in value:
            if not isinstance(key, str):
                raise BadValue(f"a fingerprint reads mappings with text keys, not {key!r}.")
        return {key: _normal(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_normal(entry) for entry in value]
    if isinstance(value, float):
        return _number(value)
    return value


def _number(value: float) -> float | int:
    if math.isnan(value):
        raise BadValue("a fingerprint cannot contain NaN: nothing is equal to it.")
    rounded = float(f"{value:.{_DIGITS - 1}e}")
    return int(rounded) if rounded.is_integer() and abs(rounded) < 10**_DIGITS else rounded
