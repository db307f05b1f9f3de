"""Conditions on a trial's numbers, as the database compares them: class means on one side."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, SQLColumnExpression, and_, or_

from paretoken.spaces.errors import BadValue

OPERATORS: dict[str, Callable[[Any, Any], Any]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
    "==": operator.eq,
    "!=": operator.ne,
}
_MIRRORED = {"<": ">", "<=": ">=", ">": "<", ">=": "<=", "==": "==", "!=": "!="}


@dataclass(frozen=True)
class Bound:
    """A number of a trial, by name, has to be so to a value: "fid", "<=", 40.0."""

    name: str
    operator: str
    value: float

    def __post_init__(self) -> None:
        if self.operator not in OPERATORS:
            known = " ".join(OPERATORS)
            raise BadValue(f"a bound compares by one of {known}, not by {self.operator!r}.")
        if math.isnan(self.value):
            raise BadValue(f"a bound on {self.name} needs a number: NaN compares with nothing.")

    def holds(self, mean: SQLColumnExpression[float]) -> ColumnElement[bool]:
        """The condition on a column of means."""
        return self._compare(mean, self.operator, self.value)

    def holds_turned(self, negative: SQLColumnExpression[float]) -> ColumnElement[bool]:
        """The condition on a column of means with the sign turned."""
        return self._compare(negative, _MIRRORED[self.operator], -self.value)

    @staticmethod
    def _compare(
        column: SQLColumnExpression[float], sign: str, value: float
    ) -> ColumnElement[bool]:
        condition: ColumnElement[bool] = OPERATORS[sign](column, value)
        return condition


@dataclass(frozen=True)
class Range:
    """Bounds on one number, of which all must hold, or any."""

    name: str
    bounds: tuple[Bound, ...]
    any: bool = False

    def holds(
        self, column: SQLColumnExpression[float], *, turned: bool = False
    ) -> ColumnElement[bool]:
        """The condition on a column of means. turned: on one of means with the sign turned."""
        join = or_ if self.any else and_
        each = (b.holds_turned(column) if turned else b.holds(column) for b in self.bounds)
        return join(*each)


def on_ratio(bound: Bound, name: str, plain: float) -> Range:
    """A bound on the ratio of a number to `plain` as bounds on that number.

    Exactly those numbers fit whose ratio, rounded as floats are, fits.
    """
    at_least = Bound(name, ">=", _least(plain, bound.value))
    beyond = Bound(name, ">=", _least(plain, math.nextafter(bound.value, math.inf)))
    below, up_to = Bound(name, "<", at_least.value), Bound(name, "<", beyond.value)
    bounds = {
        "<": (below,),
        "<=": (up_to,),
        ">": (beyond,),
        ">=": (at_least,),
        "==": (at_least, up_to),
        "!=": (below, beyond),
    }[bound.operator]
    return Range(name, bounds, any=bound.operator == "!=")


def _least(plain: float, ratio: float) -> float:
    """The least float whose ratio to `plain`, which is positive, is at least `ratio`."""
    least = ratio * plain
    if not 0 < ratio < math.inf:
        return least
    while least / plain >= ratio:
        least = math.nextafter(least, -math.inf)
    while least / plain < ratio:
        least = math.nextafter(least, math.inf)
    return least
