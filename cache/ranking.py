"""The best trial under conditions, found inside the database.

It is the first that fits on a walk along an index. Where only few can fit, whatever their rank,
these are looked up instead, so that a condition that nobody meets costs no full walk.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import TypeVar

from sqlalchemy import (
    ColumnElement,
    ScalarSelect,
    Select,
    SQLColumnExpression,
    and_,
    exists,
    func,
    select,
)
from sqlalchemy.orm import Session, aliased

from paretoken.cache.axes import (
    Axis,
    Plain,
    class_column,
    finite,
    first_two,
    objectives_of,
    plain_numbers,
    speed_of,
)
from paretoken.cache.bounds import Bound, Range, on_ratio
from paretoken.cache.schema import ClassRow, MeanRow, PointRow, TrialRow
from paretoken.cache.trials import SPEEDUP
from paretoken.spaces.objectives import Objective

_FEW = 300  # so many rows are looked up and sorted in a few milliseconds
_LAST = sys.float_info.max  # what is missing ranks behind every number

T = TypeVar("T")


def best(
    session: Session, study_id: int, objective: Objective, bounds: Sequence[Bound]
) -> int | None:
    """The number of the best trial whose class means fulfil all bounds; None if none does.

    Of equals the one that is better in the study's objectives, in their order, then the earlier
    one. Asked are the candidates that have a point; where a study has one objective, and so no
    points, all its trials. A number counts only under the conditions of trial 0's, if that has
    one of the name. "speedup" is the ratio to trial 0 in speed.
    """
    wanted = objectives_of(session, study_id)
    numbers = plain_numbers(session, study_id)
    axes = first_two(wanted, numbers)
    if axes is None and len(wanted) > 1:
        return None
    ranking = _Ranking(session, study_id, numbers, axes)
    speed = speed_of(wanted, numbers)
    ranges = []
    for bound in bounds:
        if bound.name != SPEEDUP:
            ranges.append(Range(bound.name, (bound,)))
        elif speed is None or numbers[speed].mean <= 0:
            return None
        else:
            ranges.append(on_ratio(bound, speed, numbers[speed].mean))
    name = speed if objective.name == SPEEDUP else objective.name
    if name is None or not all(map(ranking.knows, [name, *(limit.name for limit in ranges)])):
        return None
    others = [(one.name, one.higher) for one in wanted if one.name != name]
    keys = [(name, objective.higher), *((n, h) for n, h in others if ranking.knows(n))]
    return ranking.first(keys, ranges)


class _Ranking:
    """The statements about one study; `axes`: those of its points, if it has any."""

    def __init__(
        self,
        session: Session,
        study_id: int,
        numbers: Mapping[str, Plain],
        axes: tuple[Axis, Axis] | None,
    ) -> None:
        self._connection = session.connection()
        self._study_id = study_id
        self._numbers = numbers
        self._aspects = {name: plain.aspect for name, plain in numbers.items()}
        self._points: dict[str, tuple[SQLColumnExpression[float], bool]] = {}
        if axes is not None:
            for axis, column in zip(axes, (PointRow.x, PointRow.y), strict=True):
                self._points[axis.objective.name] = (column, axis.objective.higher)
        # Whoever has a point with a speed was measured where trial 0 was.
        self._placed = any(axis.plain.aspect == "speed" for axis in axes or ())

    def knows(self, name: str) -> bool:
        """Whether anybody has a number of that name."""
        if name not in self._aspects:
            aspect = self._connection.scalar(
                select(ClassRow.aspect)
                .join(MeanRow, MeanRow.class_id == ClassRow.id)
                .where(MeanRow.name == name)
                .limit(1)
            )
            if aspect is None:
                return False
            self._aspects[name] = aspect
        return True

    def first(self, keys: Sequence[tuple[str, bool]], ranges: Sequence[Range]) -> int | None:
        """The number of the trial that comes first by all keys, of those within all ranges.

        keys: names, each with whether the higher is better. A trial must have a number of the
        first name; where it lacks another, it is behind those that have it.
        """
        left, within = list(keys), list(ranges)
        while left and left[0][0] not in self._points:
            # One name's index is walked for its best number alone: many trials may share that.
            name, higher = left.pop(0)
            value = self._best_value(name, higher, within)
            if value is not None:
                within.append(Range(name, (Bound(name, "==", value),)))
            elif len(left) + 1 == len(keys):
                return None
        few = self._few(within)
        if few == []:
            return None
        order = [self._order(*key) for key in left]
        first = left[0][0] if left else ""
        query = self._trials(TrialRow.number, few, within, first)
        query = query.order_by(*order, TrialRow.number)
        if few is None:
            return self._connection.scalar(query.limit(1))
        # Without a limit: an index in this order would be walked past all others for a few.
        return next(iter(self._connection.scalars(query)), None)

    def _best_value(self, name: str, higher: bool, ranges: Sequence[Range]) -> float | None:
        """The best number of that name that a trial within all ranges has."""
        few = self._few(ranges)
        if few is not None:
            own = self._number(name)
            found = self._connection.scalars(self._trials(own, few, ranges).where(own.is_not(None)))
            return (max if higher else min)(found, default=None)
        mean = aliased(MeanRow)
        query = self._trials(mean.mean, None, ranges)
        order = mean.mean.desc() if higher else mean.mean.asc()
        query = query.join(mean, self._is_number(name, mean)).order_by(order)
        return self._connection.scalar(query.limit(1))

    def _trials(
        self,
        column: SQLColumnExpression[T],
        few: list[int] | None,
        ranges: Sequence[Range],
        walked: str | None = None,
    ) -> Select[T]:
        """Something of each trial within all ranges; few: the ids among which these are.

        walked: the number whose index in the study gives the order, None for no index of a study.
        """
        query = select(column).select_from(TrialRow)
        study: SQLColumnExpression[int] = TrialRow.study_id
        if self._points:
            query = query.join(PointRow, PointRow.trial_id == TrialRow.id)
            study = PointRow.study_id
        if few is not None:
            query = query.where(TrialRow.id.in_(few))
        else:
            query = query.where((study + 0 if walked is None else study) == self._study_id)
        # SQLite knows no frequencies and would leave the order for the index of any range.
        free = few is None and self._connection.dialect.name == "sqlite"
        return query.where(
            *(self._within(limit, unindexed=free and limit.name != walked) for limit in ranges)
        )

    def _few(self, ranges: Sequence[Range]) -> list[int] | None:
        """The ids of trials among which all are that fit, if some range leaves only few."""
        on_points = [self._within(limit) for limit in ranges if limit.name in self._points]
        if on_points:
            found = self._at_most_few(
                select(PointRow.trial_id).where(PointRow.study_id == self._study_id, *on_points)
            )
            if found is not None:
                return found
        for limit in ranges:
            if limit.name in self._points:
                continue
            classes = self._at_most_few(
                select(MeanRow.class_id).where(
                    MeanRow.name == limit.name, limit.holds(MeanRow.mean), finite(MeanRow.mean)
                )
            )
            if classes is None:
                continue
            users = class_column(self._aspects[limit.name]).in_(classes)
            found = self._at_most_few(  # no index on the study: that has too many trials
                select(TrialRow.id).where(users, TrialRow.study_id + 0 == self._study_id)
            )
            if found is not None:
                return found
        return None

    def _at_most_few(self, ids: Select[int]) -> list[int] | None:
        found = self._connection.scalars(ids.limit(_FEW + 1)).all()
        return list(found) if len(found) <= _FEW else None

    def _within(self, limit: Range, *, unindexed: bool = False) -> ColumnElement[bool]:
        """Whether a trial has the number and it lies within the range."""
        if limit.name in self._points:
            column, turned = self._points[limit.name]
            column = column + 0.0 if unindexed else column
            return limit.holds(column, turned=turned)
        mean = aliased(MeanRow)
        own = exists().where(self._is_number(limit.name, mean), limit.holds(mean.mean))
        return own.correlate(TrialRow)

    def _order(self, name: str, higher: bool) -> ColumnElement[float]:
        """What sorts trials by a number of theirs, the better first."""
        if name in self._points:
            column, turned = self._points[name]
            return column.asc() if higher == turned else column.desc()
        own = self._number(name)
        return func.coalesce(-own if higher else own, _LAST).asc()

    def _number(self, name: str) -> ScalarSelect[float]:
        """A trial's number of that name, which is on no axis of the points."""
        mean = aliased(MeanRow)
        own = select(mean.mean).where(self._is_number(name, mean))
        return own.correlate(TrialRow).scalar_subquery()

    def _is_number(self, name: str, mean: type[MeanRow]) -> ColumnElement[bool]:
        """Whether a row of means is a trial's number of that name and compares with trial 0's."""
        column = class_column(self._aspects[name])
        conditions = [mean.class_id == column, mean.name == name, finite(mean.mean)]
        plain = self._numbers.get(name)
        if plain is not None:
            conditions.append(mean.comparable == plain.comparable)
        if plain is not None and plain.aspect == "speed" and not self._placed:
            place = aliased(ClassRow)
            at = place.device == plain.device, place.software == plain.software
            conditions.append(exists().where(place.id == column, *at).correlate(TrialRow))
        return and_(*conditions)
