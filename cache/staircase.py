"""The two-objective front, read from its flags or found by one walk along an index."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import ColumnElement, Select, SQLColumnExpression, func, or_, select, tuple_
from sqlalchemy.orm import Session

from paretoken.cache.schema import PointRow, TrialRow


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


@dataclass(frozen=True)
class OnFront:
    """A trial on its study's front; x, y: its losses in the first two objectives."""

    number: int
    trial_id: int
    candidate_id: str
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
        select(TrialRow.number, TrialRow.id, PointRow.candidate_id, PointRow.x, PointRow.y)
        .join(TrialRow, PointRow.trial_id == TrialRow.id)
        .where(PointRow.study_id == study_id, belongs)
        .order_by(PointRow.x, PointRow.y, TrialRow.number)
    )
    return [
        OnFront(number, trial_id, candidate_id, x, y)
        for number, trial_id, candidate_id, x, y in rows
    ]
