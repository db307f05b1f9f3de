"""A study's candidates with their places and numbers: every trial and every moved mean is followed.

Each point says on its own what a question may be about, so that the best under any conditions is
found in one reading; for that, a mean is written to all its users.

Call `moved` once all else is written. What is read here stays so until it is written back: there is
one writer at a time (see `connection`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache

from sqlalchemy import BindParameter, Select, bindparam, delete, exists, select
from sqlalchemy.orm import Session, aliased

from paretoken.cache import staircase
from paretoken.cache.bulk import insert_rows, slices
from paretoken.cache.followers import followers, moving
from paretoken.cache.numbers import (
    Found,
    Numbers,
    begin_numbers,
    learn,
    plain_terms,
    read_found,
    read_numbers,
)
from paretoken.cache.schema import FrontRow, PointRow, TrialRow


def place(session: Session, study_id: int, trials: Mapping[int, int]) -> None:
    """Give finished trials of one study their points, if their numbers on its axes compare.

    trials: their ids by number. Nothing has a place before trial 0 says under which conditions;
    once it does, all have. Of several trials of one candidate the first finished one has the point.
    """
    session.flush()
    if 0 in trials:
        rebuild(session, study_id)
        return
    numbers = read_numbers(session, study_id)
    if numbers.axes:
        for some in slices(list(trials.values())):
            staircase.enter(session.connection(), study_id, _add(session, numbers, some))


def moved(session: Session, class_id: int) -> None:
    """Take the class's means over into the points of the trials that use it; mend their fronts."""
    session.flush()
    connection = session.connection()
    found = read_found(session, [class_id])[class_id]
    users = followers(found.aspect)
    for study_id in connection.scalars(users.studies, {"of_class": class_id}).all():
        theirs = {"of_study": study_id, "of_class": class_id}
        numbers = read_numbers(session, study_id)
        if connection.scalar(users.plain, theirs) is not None:
            if plain_terms(session, study_id) != numbers.plain:
                rebuild(session, study_id)
                continue
        if not numbers.axes:
            continue
        if not learn(session, numbers, [(name, found.aspect) for name in found.means]):
            rebuild(session, study_id)
            continue
        changed = _follow(session, numbers, theirs, found)
        if changed is not None:
            staircase.repair(connection, study_id, *changed)


def rebuild(session: Session, study_id: int) -> None:
    """Write a study's points, and what is known of its numbers, anew."""
    connection = session.connection()
    for kept in (FrontRow, PointRow):
        connection.execute(delete(kept).where(kept.study_id == study_id))
    numbers = begin_numbers(session, study_id)
    if numbers.axes:
        _add(session, numbers)
        staircase.repair(connection, study_id, *staircase.EVERYWHERE)


def _follow(
    session: Session, numbers: Numbers, theirs: Mapping[str, int], found: Found
) -> tuple[float, float] | None:
    """Bring a study's points of one class up to date; off the front until that is mended.

    theirs: the parameters of `followers`. Returns the least x and the least y where points were or
    are now; None if none has moved.
    """
    connection = session.connection()
    users = followers(found.aspect)
    least_x, most_x, least_y, most_y = connection.execute(users.limits, theirs).one()
    values = numbers.counted(found)
    target = _target(numbers, found.aspect, values)
    if target is None:
        connection.execute(users.off_front, theirs)
        connection.execute(users.off_points, theirs)
        return None if least_x is None else (least_x, least_y)
    if least_x is None:
        ids = connection.scalars(users.trials, theirs).all()
        added = [place for some in slices(ids) for place in _add(session, numbers, some)]
        return (min(at.x for at in added), min(at.y for at in added)) if added else None
    moves = any(
        target.get(axis, low) != low or target.get(axis, high) != high
        for axis, low, high in (("x", least_x, most_x), ("y", least_y, most_y))
    )
    new: dict[str, float | None] = {**target, **numbers.columns(values, found.aspect)}
    if not new:  # no axis, no column
        return None
    given = {f"new_{name}": value for name, value in new.items()}
    connection.execute(moving(found.aspect, tuple(new)), {**theirs, **given})
    if not moves:
        return None
    connection.execute(users.off_front, theirs)
    return min(least_x, target.get("x", least_x)), min(least_y, target.get("y", least_y))


def _add(
    session: Session, numbers: Numbers, trials: Sequence[int] | None = None
) -> list[staircase.Place]:
    """Add the points that some trials, by default all, lack; returns where they are."""
    added: list[staircase.Place] = []
    taken: set[str] = set()
    asked = {"study": numbers.study_id} | ({} if trials is None else {"trials": trials})
    rows = session.connection().execute(_without_a_point(trials is None), asked).all()
    for some in slices(rows):
        found = read_found(session, [of for *_, quality, speed in some for of in (quality, speed)])
        names = {(name, each.aspect) for each in found.values() for name in each.means}
        if not learn(session, numbers, names):
            rebuild(session, numbers.study_id)
            return []
        new = []
        for number, candidate_id, quality_id, speed_id in some:
            point = _point(numbers, found.get(quality_id), found.get(speed_id))
            if point is None or candidate_id in taken:
                continue
            taken.add(candidate_id)
            (x, y), columns = point
            added.append(staircase.Place(number, x, y))
            new.append(
                {
                    "study_id": numbers.study_id,
                    "number": number,
                    "x": x,
                    "y": y,
                    **columns,
                }
            )
        insert_rows(session, PointRow, new)
    return added


def _point(
    numbers: Numbers, quality: Found | None, speed: Found | None
) -> tuple[tuple[float, float], dict[str, float | None]] | None:
    """Place and columns of a trial of these classes; None where it has no place."""
    values: dict[str, float] = {}
    columns: dict[str, float | None] = {}
    for aspect, found in (("quality", quality), ("speed", speed)):
        counted = {} if found is None else numbers.counted(found)
        values.update(counted)
        columns.update(numbers.columns(counted, aspect))
    assert numbers.axes is not None
    x, y = numbers.axes
    if x.name not in values or y.name not in values:
        return None
    return (x.loss(values[x.name]), y.loss(values[y.name])), columns


def _target(numbers: Numbers, aspect: str, values: Mapping[str, float]) -> dict[str, float] | None:
    """Where points of a class lie, by axis ("x", "y"); None where its numbers do not compare."""
    target = {}
    for column, wanted in zip("xy", numbers.axes or (), strict=True):
        if numbers.terms[wanted.name].aspect == aspect:
            if wanted.name not in values:
                return None
            target[column] = wanted.loss(values[wanted.name])
    return target


@cache
def _without_a_point(all_trials: bool) -> Select[int, str, int | None, int | None]:
    """Number, candidate and classes of finished trials whose candidates have no point yet."""
    study_id: BindParameter[int] = bindparam("study")
    twin = aliased(TrialRow)
    has_one = exists().where(
        twin.candidate_id == TrialRow.candidate_id,
        twin.study_id + 0 == study_id,  # by the candidate's index: the study has too many trials
        PointRow.study_id == twin.study_id,
        PointRow.number == twin.number,
    )
    wanted = select(
        TrialRow.number, TrialRow.candidate_id, TrialRow.quality_id, TrialRow.speed_id
    ).where(TrialRow.study_id == study_id, TrialRow.state == "done", ~has_one)
    if not all_trials:
        wanted = wanted.where(TrialRow.id.in_(bindparam("trials", expanding=True)))
    return wanted.order_by(TrialRow.number)
