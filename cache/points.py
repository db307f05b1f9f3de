"""The two-objective front as a table: every insert and every moved class mean keeps it right.

A flag says that no other point of the study dominates the point: none at least as good in both
objectives and better in one. Between the leftmost place that changed and the first point that is
as good in y as anything that changed, flags are found anew; outside, they cannot have changed.

Order of locks: a class (which `observe` locks by updating it), then studies by id. Call `moved`
once all else is written. Under which conditions a class's numbers were found never changes.
"""

from __future__ import annotations

import sys

from sqlalchemy import (
    ColumnElement,
    Connection,
    Select,
    and_,
    delete,
    func,
    literal,
    or_,
    select,
    tuple_,
    update,
)
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session

from paretoken.cache.axes import (
    Axis,
    class_column,
    finite,
    first_two,
    loss_of,
    mean_on,
    objectives_of,
    plain_numbers,
    same_place,
)
from paretoken.cache.schema import ClassRow, MeanRow, PointRow, StudyRow, TrialRow
from paretoken.cache.staircase import corners

_LEAST = -sys.float_info.max

_Axes = tuple[Axis, Axis]


def place(session: Session, trial: TrialRow) -> None:
    """Give a finished trial's candidate its point, if both of its numbers compare.

    Nothing has a place before trial 0 says under which conditions; once it does, all have. Of
    several trials of one candidate the first finished one has the point.
    """
    session.flush()
    connection = session.connection()
    used = [found for found in (trial.quality_id, trial.speed_id) if found is not None]
    connection.execute(  # a mean that moves meanwhile finds this trial, or this trial finds it
        select(ClassRow.id)
        .where(ClassRow.id.in_(used))
        .order_by(ClassRow.id)
        .with_for_update(read=True)
    )
    connection.execute(_locked(StudyRow.id == trial.study_id))
    axes = _axes(session, trial.study_id)
    if axes is None:
        return
    if trial.number == 0:
        _insert(connection, axes, TrialRow.study_id == trial.study_id)
        _repair(connection, trial.study_id, _LEAST, _LEAST)
        return
    for x, y in _insert(connection, axes, TrialRow.id == trial.id):
        _enter(connection, trial, x, y)


def moved(session: Session, class_id: int) -> None:
    """Move the points of the trials that use the class to its means, and mend their fronts."""
    session.flush()
    connection = session.connection()
    source = session.get_one(ClassRow, class_id)
    users = class_column(source.aspect) == class_id
    using = StudyRow.id.in_(select(TrialRow.study_id).where(users))
    for study_id in connection.scalars(_locked(using)).all():
        axes = _axes(session, study_id)
        if axes is None:
            connection.execute(delete(PointRow).where(PointRow.study_id == study_id))
        elif any(axis.plain.aspect == source.aspect for axis in axes):
            changed = _follow(connection, study_id, source, axes)
            if changed is not None:
                _repair(connection, study_id, *changed)


def _follow(
    connection: Connection, study_id: int, source: ClassRow, axes: _Axes
) -> tuple[float, float] | None:
    """Bring a study's points of one class up to date; off the front until that is mended.

    Returns the least x and the least y where points were or are now; None if none has changed.
    """
    users = and_(TrialRow.study_id == study_id, class_column(source.aspect) == source.id)
    trials = select(TrialRow.id).where(users)
    theirs = PointRow.trial_id.in_(trials)  # and by nothing that has a larger index range
    extent = select(func.min(PointRow.x), func.min(PointRow.y)).where(theirs)
    least_x, least_y = connection.execute(extent).one()
    target = _target(connection, source, axes)
    if target is None:
        connection.execute(delete(PointRow).where(theirs))
    elif least_x is None:
        if any(axis.plain.class_id == source.id for axis in axes):  # nobody had a place so far
            users = TrialRow.study_id == study_id
            theirs = PointRow.study_id == study_id
            extent = select(func.min(PointRow.x), func.min(PointRow.y)).where(theirs)
        _insert(connection, axes, users)
        least_x, least_y = connection.execute(extent).one()
    else:
        # Every one of them goes to the same place on an axis that the class has the number of.
        elsewhere = or_(*(PointRow.__table__.c[axis] != to for axis, to in target.items()))
        stale = update(PointRow).where(theirs, elsewhere).values(front=False, **target)
        if connection.execute(stale).rowcount == 0:
            return None
        least_x = min(least_x, target.get("x", least_x))
        least_y = min(least_y, target.get("y", least_y))
    return None if least_x is None else (least_x, least_y)


def _target(connection: Connection, source: ClassRow, axes: _Axes) -> dict[str, float] | None:
    """Where a class's points lie, by axis ("x", "y"); None where its numbers do not compare."""
    means = {
        name: (mean, comparable)
        for name, mean, comparable in connection.execute(
            select(MeanRow.name, MeanRow.mean, MeanRow.comparable).where(
                MeanRow.class_id == source.id, finite(MeanRow.mean)
            )
        )
    }
    target: dict[str, float] = {}
    for column, axis in zip("xy", axes, strict=True):
        if axis.plain.aspect != source.aspect:
            continue
        mean, comparable = means.get(axis.objective.name, (0.0, None))
        found_under = (comparable, source.device, source.software)
        if found_under != (axis.plain.comparable, axis.plain.device, axis.plain.software):
            return None
        target[column] = axis.objective.loss(mean)
    return target


def _insert(
    connection: Connection, axes: _Axes, trials: ColumnElement[bool]
) -> list[tuple[float, float]]:
    """Add the points that some trials lack, off the front at first; returns where they are."""
    (mean_x, is_x), (mean_y, is_y) = map(mean_on, axes)
    (place_x, at_x), (place_y, at_y) = map(same_place, axes)
    rows = (
        select(
            TrialRow.study_id,
            TrialRow.candidate_id,
            TrialRow.id,
            loss_of(axes[0], mean_x.mean),
            loss_of(axes[1], mean_y.mean),
            literal(False),
        )
        .join(mean_x, is_x)
        .join(mean_y, is_y)
        .join(place_x, at_x)
        .join(place_y, at_y)
        .where(trials)
        .order_by(TrialRow.number)
    )
    dialect = postgresql if connection.dialect.name == "postgresql" else sqlite
    added = connection.execute(
        dialect.insert(PointRow)
        .from_select(["study_id", "candidate_id", "trial_id", "x", "y", "front"], rows)
        .on_conflict_do_nothing()
        .returning(PointRow.x, PointRow.y)
    )
    return [(x, y) for x, y in added]


def _enter(connection: Connection, trial: TrialRow, x: float, y: float) -> None:
    """Put one new point on the front if it belongs there, and off it what that dominates."""
    on_front = and_(PointRow.study_id == trial.study_id, PointRow.front)
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
    own = PointRow.study_id == trial.study_id, PointRow.candidate_id == trial.candidate_id
    connection.execute(update(PointRow).where(*own).values(front=True))


def _repair(connection: Connection, study_id: int, x: float, y: float) -> None:
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


def _axes(session: Session, study_id: int) -> _Axes | None:
    return first_two(objectives_of(session, study_id), plain_numbers(session, study_id))


def _locked(studies: ColumnElement[bool]) -> Select[int]:
    """The ids of studies whose points nobody else changes from now on."""
    # NO KEY UPDATE: new trials, which refer to the study, need not wait.
    return select(StudyRow.id).where(studies).order_by(StudyRow.id).with_for_update(key_share=True)
