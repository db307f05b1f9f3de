"""The two-objective front: read from its flags, which every point that enters or moves keeps right.

A flag says that no other point of the study dominates the point: none at least as good in both
objectives and better in one. Between the leftmost place that changed and the first point that is
as good in y as anything that changed, flags are found anew; outside, they cannot have changed.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Iterable
from dataclasses import dataclass

from sqlalchemy import (
    ColumnElement,
    Connection,
    Select,
    SQLColumnExpression,
    and_,
    func,
    or_,
    select,
    tuple_,
    update,
)
from sqlalchemy.orm import Session

from paretoken.cache.schema import PointRow

# Left of every point and below it.
EVERYWHERE = (-sys.float_info.max, -sys.float_info.max)


def corners(
    study_id: int, *slab: ColumnElement[bool], below: float | None = None
) -> Select[tuple[float, float]]:
    """The places (x, y) of a study's points that no point dominates.

    slab: looks only at the points that fulfil these conditions; below: the least y of all points
    left of the slab. The order is that of the index (study_id, x, y), which alone is read.
    """
    # The least y of everything before the place itself; equal places are one group, so that they
    # do not dominate each other.
    before = func.min(PointRow.y).over(order_by=[PointRow.x, PointRow.y], groups=(None, -1))
    conditions = [PointRow.study_id == study_id, *slab]
    if below is not None:
        conditions.append(PointRow.y < below)
    walk = select(PointRow.x, PointRow.y, before.label("before")).where(*conditions).subquery()
    return (
        select(walk.c.x, walk.c.y)
        .where(or_(walk.c.before.is_(None), walk.c.y < walk.c.before))
        .distinct()
    )


def enter(connection: Connection, study_id: int, places: Iterable[tuple[float, float]]) -> None:
    """Put new points on the front if they belong there, and off it what they dominate."""
    least = math.inf
    for x, y in sorted(set(places)):
        if y < least:  # whatever another new point dominates stays off
            least = y
            _enter(connection, study_id, x, y)


def _enter(connection: Connection, study_id: int, x: float, y: float) -> None:
    on_front = and_(PointRow.study_id == study_id, PointRow.front)
    equal = and_(PointRow.x == x, PointRow.y == y)
    best = connection.scalar(  # of the front, the last at or left of it has the least y
        select(PointRow.y)
        .where(on_front, PointRow.x <= x, ~equal)
        .order_by(PointRow.x.desc(), PointRow.y)
        .limit(1)
    )
    if best is not None and best <= y:
        return
    worse = update(PointRow).where(on_front, PointRow.x >= x, PointRow.y >= y, ~equal)
    connection.execute(worse.values(front=False))
    there = PointRow.study_id == study_id, equal
    connection.execute(update(PointRow).where(*there).values(front=True))


def repair(connection: Connection, study_id: int, x: float, y: float) -> None:
    """Mend a study's flags, where nothing that changed was or is left of x or below y.

    What has changed must be off the front already.
    """
    on_front = and_(PointRow.study_id == study_id, PointRow.front)
    below = connection.scalar(  # the least y left of all changes
        select(PointRow.y).where(on_front, PointRow.x < x).order_by(PointRow.x.desc()).limit(1)
    )
    if below is not None and below <= y:
        return  # whatever changed is dominated, and was
    last = connection.scalar(  # dominates all right of it that a changed point may dominate
        select(PointRow.x)
        .where(on_front, PointRow.x >= x, PointRow.y <= y)
        .order_by(PointRow.x)
        .limit(1)
    )
    slab = [PointRow.x >= x] if last is None else [PointRow.x.between(x, last)]
    found = corners(study_id, *slab, below=below)
    connection.execute(update(PointRow).where(on_front, *slab).values(front=False))
    at_corner = tuple_(PointRow.x, PointRow.y).in_(found)
    connection.execute(
        update(PointRow).where(PointRow.study_id == study_id, at_corner).values(front=True)
    )


@dataclass(frozen=True)
class OnFront:
    """A trial on its study's front; x, y: its losses in the first two objectives."""

    number: int
    x: float
    y: float


def front(session: Session, study_id: int) -> list[OnFront]:
    """The study's two-objective front, the best in the first objective first."""
    return _read(session, study_id, PointRow.front)


def recomputed_front(session: Session, study_id: int) -> list[OnFront]:
    """The same from the places of all points, whatever their flags say."""
    return _read(session, study_id, tuple_(PointRow.x, PointRow.y).in_(corners(study_id)))


def _read(session: Session, study_id: int, belongs: SQLColumnExpression[bool]) -> list[OnFront]:
    rows = session.connection().execute(
        select(PointRow.number, PointRow.x, PointRow.y)
        .where(PointRow.study_id == study_id, belongs)
        .order_by(PointRow.x, PointRow.y, PointRow.number)
    )
    return [OnFront(number, x, y) for number, x, y in rows]
