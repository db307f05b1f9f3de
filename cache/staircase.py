"""The two-objective front as a table, which every point that enters or moves keeps right.

On it are the points of a study that no other dominates: none is at least as good in both
objectives and better in one. Between the leftmost place that changed and the first point that is
as good in y as anything that changed, it is found anew; outside, it cannot have changed.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache

from sqlalchemy import (
    Connection,
    Insert,
    Integer,
    Select,
    and_,
    bindparam,
    delete,
    func,
    insert,
    or_,
    select,
)
from sqlalchemy.orm import Session

from paretoken.cache.schema import FrontRow, PointRow

# Left of every point and below it.
EVERYWHERE = (-sys.float_info.max, -sys.float_info.max)

_ON_FRONT = FrontRow.study_id == bindparam("of")
_ELSEWHERE = ~and_(FrontRow.x == bindparam("at_x"), FrontRow.y == bindparam("at_y"))
# Of the front, the last at or left of a place has the least y.
_BEST_BEFORE = (
    select(FrontRow.y)
    .where(_ON_FRONT, FrontRow.x <= bindparam("at_x"), _ELSEWHERE)
    .order_by(FrontRow.x.desc(), FrontRow.y)
    .limit(1)
)
_OFF = delete(FrontRow).where(
    _ON_FRONT,
    FrontRow.x >= bindparam("at_x"),
    FrontRow.y >= bindparam("at_y"),
    _ELSEWHERE,
)
_ON = insert(FrontRow)
# The least y left of all changes.
_LEAST_LEFT = (
    select(FrontRow.y)
    .where(_ON_FRONT, FrontRow.x < bindparam("at_x"))
    .order_by(FrontRow.x.desc())
    .limit(1)
)
# It dominates all right of it that a changed point may dominate.
_FIRST_AS_LOW = (
    select(FrontRow.x)
    .where(_ON_FRONT, FrontRow.x >= bindparam("at_x"), FrontRow.y <= bindparam("at_y"))
    .order_by(FrontRow.x)
    .limit(1)
)
_OFF_SLAB = delete(FrontRow).where(
    _ON_FRONT, FrontRow.x.between(bindparam("at_x"), bindparam("most"))
)


@dataclass(frozen=True)
class Place:
    """A trial's losses in the first two objectives of its study."""

    number: int
    x: float
    y: float


@cache
def _undominated(in_slab: bool, bounded: bool) -> Select[int, float, float]:
    """Number, x and y of the points of study `of` that no point dominates.

    in_slab: looks only at those from `at_x` to `most`; bounded: `below` is the least y of all
    points left of these.
    """
    # The least y of everything before the place itself; equal places are one group, so that they
    # do not dominate each other.
    before = func.min(PointRow.y).over(order_by=[PointRow.x, PointRow.y], groups=(None, -1))
    conditions = [PointRow.study_id == bindparam("of")]
    if in_slab:
        conditions.append(PointRow.x.between(bindparam("at_x"), bindparam("most")))
    if bounded:
        conditions.append(PointRow.y < bindparam("below"))
    walk = (
        select(PointRow.number, PointRow.x, PointRow.y, before.label("before"))
        .where(*conditions)
        .subquery()
    )
    return select(walk.c.number, walk.c.x, walk.c.y).where(
        or_(walk.c.before.is_(None), walk.c.y < walk.c.before)
    )


@cache
def _on_slab(bounded: bool) -> Insert:
    found = _undominated(True, bounded).subquery()
    study_id = bindparam("of", type_=Integer)
    return insert(FrontRow).from_select(
        ["study_id", "number", "x", "y"],
        select(study_id, found.c.number, found.c.x, found.c.y),
    )


def enter(connection: Connection, study_id: int, places: Iterable[Place]) -> None:
    """Put new points on the front if they belong there, and off it what they dominate."""
    at: dict[tuple[float, float], list[int]] = {}
    for place in places:
        at.setdefault((place.x, place.y), []).append(place.number)
    least = math.inf
    for x, y in sorted(at):
        if y < least:  # whatever another new point dominates stays off
            least = y
            _enter(connection, study_id, x, y, at[x, y])


def _enter(
    connection: Connection, study_id: int, x: float, y: float, numbers: Iterable[int]
) -> None:
    at = {"of": study_id, "at_x": x, "at_y": y}
    best = connection.scalar(_BEST_BEFORE, at)
    if best is not None and best <= y:
        return
    connection.execute(_OFF, at)
    connection.execute(
        _ON,
        [{"study_id": study_id, "number": number, "x": x, "y": y} for number in numbers],
    )


def repair(connection: Connection, study_id: int, x: float, y: float) -> None:
    """Mend a study's front, where nothing that changed was or is left of x or below y.

    What has changed must be off the front already.
    """
    at = {"of": study_id, "at_x": x, "at_y": y}
    below = connection.scalar(_LEAST_LEFT, at)
    if below is not None and below <= y:
        return  # whatever changed is dominated, and was
    last = connection.scalar(_FIRST_AS_LOW, at)
    slab = at | {"most": sys.float_info.max if last is None else last}
    connection.execute(_OFF_SLAB, slab)
    connection.execute(_on_slab(below is not None), slab | {"below": below})


def front(session: Session, study_id: int) -> list[Place]:
    """The study's two-objective front, the best in the first objective first."""
    kept = select(FrontRow.number, FrontRow.x, FrontRow.y).where(_ON_FRONT)
    return _read(session, kept, study_id)


def recomputed_front(session: Session, study_id: int) -> list[Place]:
    """The same from the places of all points, whatever is kept."""
    return _read(session, _undominated(False, False), study_id)


def _read(session: Session, places: Select[int, float, float], study_id: int) -> list[Place]:
    rows = session.connection().execute(places, {"of": study_id})
    found = [Place(number, x, y) for number, x, y in rows]
    return sorted(found, key=lambda place: (place.x, place.y, place.number))
