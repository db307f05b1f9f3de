"""Sizes of what is trained: the user's, and the usual ones for the rest."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from paretoken.spaces.errors import BadValue

_STEPS = {"dim": 32}  # widths of heads, which a model's width is made of


def sized(usual: Mapping[str, int], given: Mapping[str, Any]) -> dict[str, int]:
    """`usual` with what is given in its place; None is not given. Raises BadValue."""
    found = dict(usual)
    for name, value in given.items():
        if value is None:
            continue
        step = _STEPS.get(name, 1)
        if not isinstance(value, int) or isinstance(value, bool) or value < 1 or value % step:
            of = f", a multiple of {step}" if step > 1 else ""
            raise BadValue(
                f"--option {name} is a whole number from {step} on{of}; it cannot be {value!r}."
            )
        found[name] = value
    return found
