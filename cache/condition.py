"""Conditions on trials, as the database is asked them: `--where` once its names are known.

A condition is true, false or unknown, as in SQL: what a trial has no number or no setting of is
unknown in every comparison, `not` keeps it so, and a trial fits only where the whole is true.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any

from paretoken.spaces.errors import BadValue

SIGNS: Mapping[str, Callable[[Any, Any], Any]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
    "==": operator.eq,
    "!=": operator.ne,
}


class Missing(Enum):
    """The one value of what is not there."""

    MISSING = "missing"


MISSING = Missing.MISSING
Value = float | str | bool | None | Missing


@dataclass(frozen=True)
class Number:
    """A measured number by name; "speedup" is the ratio to trial 0 in speed."""

    name: str

    def __str__(self) -> str:
        return self.name


@dataclass(frozen=True)
class Setting:
    """A setting by its keys from the root; where a component is, its name without the kind."""

    path: tuple[str, ...]

    def __str__(self) -> str:
        return ".".join(self.path)


Operand = Number | Setting | Value


@dataclass(frozen=True)
class Compare:
    """One comparison. What is missing is only equal, or unequal, to MISSING."""

    left: Operand
    sign: str
    right: Operand

    def __post_init__(self) -> None:
        if self.sign not in SIGNS:
            raise BadValue(f"a comparison is one of {' '.join(SIGNS)}, not {self.sign!r}.")
        for side in (self.left, self.right):
            if isinstance(side, float) and math.isnan(side):
                raise BadValue("a comparison needs a number: NaN compares with nothing.")
        if MISSING in (self.left, self.right) and self.sign not in ("==", "!="):
            raise BadValue(f"what is missing is == or != something; it cannot be {self.sign} it.")


@dataclass(frozen=True)
class Every:
    """All parts must hold."""

    parts: tuple[Condition, ...]


@dataclass(frozen=True)
class Some:
    """At least one part must hold."""

    parts: tuple[Condition, ...]


@dataclass(frozen=True)
class Not:
    """The part must be false; where it is unknown, so is this."""

    part: Condition


Condition = Compare | Every | Some | Not


def every(*parts: Condition | None) -> Condition | None:
    """All that are given at once; None, which every trial fits, where none is."""
    given = tuple(part for part in parts if part is not None)
    return given[0] if len(given) == 1 else Every(given) if given else None


def leaves(condition: Condition) -> list[Compare]:
    """The comparisons of a condition, from left to right."""
    if isinstance(condition, Compare):
        return [condition]
    parts = (condition.part,) if isinstance(condition, Not) else condition.parts
    return [leaf for part in parts for leaf in leaves(part)]


def mentions_settings(condition: Condition | None) -> bool:
    """Whether settings are needed to decide it."""
    compared = leaves(condition) if condition is not None else []
    return any(isinstance(side, Setting) for leaf in compared for side in (leaf.left, leaf.right))
