"""The best trial under conditions, found inside the database.

Every point has all of its numbers beside it, so one reading of a study's points answers for any
conditions and any order. It takes as long as there are points, however wide the conditions are and
whether anybody meets them. A walk along an index would be faster where many fit, and much slower
where nobody does.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from sqlalchemy import ColumnElement, ScalarSelect, SQLColumnExpression, func, select
from sqlalchemy.orm import Session

from paretoken.cache.bounds import Bound, Range, on_ratio
from paretoken.cache.numbers import Numbers, class_column, plain_found, read_numbers
from paretoken.cache.schema import ClassRow, MeanRow, PointRow, TrialRow
from paretoken.cache.trials import SPEEDUP, speed_of
from paretoken.spaces.objectives import Objective

_LEAST, _LAST = -sys.float_info.max, sys.float_info.max  # what is missing ranks behind every number


def best(
    session: Session, study_id: int, objective: Objective, bounds: Sequence[Bound]
) -> int | None:
    """The number of the best trial whose class means fulfil all bounds; None if none does.

    Of equals the one that is better in the study's objectives, in their order, then the earlier
    one. Asked are the candidates that have a point. A number counts only under the conditions of
    trial 0's, if that has one of the name. "speedup" is the ratio to trial 0 in speed.
    """
    numbers = read_numbers(session, study_id)
    if numbers.axes is None:
        return None
    speed = speed_of(numbers.objectives, numbers.plain)
    ranges = []
    for bound in bounds:
        if bound.name != SPEEDUP:
            ranges.append(Range(bound.name, (bound,)))
            continue
        plain = None if speed is None else _plain_mean(session, numbers, speed)
        if speed is None or plain is None or plain <= 0:
            return None
        ranges.append(on_ratio(bound, speed, plain))
    name = speed if objective.name == SPEEDUP else objective.name
    if name is None or not {name, *(limit.name for limit in ranges)} <= numbers.terms.keys():
        return None
    columns = _Columns(numbers)
    own, turned = columns.of(name)
    ties = [columns.loss(wanted) for wanted in numbers.objectives if wanted.name in numbers.terms]
    return session.connection().scalar(
        select(PointRow.number)
        .where(
            PointRow.study_id == study_id,
            own.is_not(None),
            *(columns.within(limit) for limit in ranges),
        )
        .order_by(-own if objective.higher != turned else own, *ties, PointRow.number)
        .limit(1)
    )


class _Columns:
    """Where a point has its numbers."""

    def __init__(self, numbers: Numbers) -> None:
        self._numbers = numbers
        self._axes: dict[str, tuple[SQLColumnExpression[float], bool]] = {}
        for axis, column in zip(numbers.axes or (), (PointRow.x, PointRow.y), strict=True):
            self._axes.setdefault(axis.name, (column, axis.higher))

    def of(self, name: str) -> tuple[SQLColumnExpression[float], bool]:
        """A number, and whether its sign is turned."""
        if name in self._axes:
            return self._axes[name]
        slot = self._numbers.slots[name]
        if slot is None:
            return self._looked_up(name), False
        return PointRow.__table__.c[f"n{slot}"], False

    def within(self, limit: Range) -> ColumnElement[bool]:
        """Whether there is such a number, and within the range."""
        column, turned = self.of(limit.name)
        return limit.holds(column, turned=turned)

    def loss(self, wanted: Objective) -> ColumnElement[float]:
        """What sorts by an objective, the better first and those without it last."""
        column, turned = self.of(wanted.name)
        return func.coalesce(-column if wanted.higher != turned else column, _LAST)

    def _looked_up(self, name: str) -> ScalarSelect[float]:
        """A number that `points` had no column for, from the class."""
        terms = self._numbers.terms[name]
        own = (
            select(MeanRow.mean)
            .join(ClassRow, MeanRow.class_id == ClassRow.id)
            .join(TrialRow, class_column(terms.aspect) == ClassRow.id)
            .where(
                TrialRow.study_id == PointRow.study_id,
                TrialRow.number == PointRow.number,
                MeanRow.name == name,
                MeanRow.mean.between(_LEAST, _LAST),
            )
        )
        if terms.comparable is not None:
            own = own.where(
                MeanRow.comparable == terms.comparable,
                ClassRow.device == terms.device,
                ClassRow.software == terms.software,
            )
        return own.correlate(PointRow).scalar_subquery()


def _plain_mean(session: Session, numbers: Numbers, name: str) -> float | None:
    """Trial 0's number of that name."""
    for found in plain_found(session, numbers.study_id):
        if name in (counted := numbers.counted(found)):
            return counted[name]
    return None
