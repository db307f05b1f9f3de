"""A study seen from above: what its classes merged, when its trials ended, whether it moved."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from paretoken.cache.schema import ClassRow, FailureRow, MeasurementRow, RungRow, TrialRow


@dataclass(frozen=True)
class Merged:
    """One class, and the trials of one study that it answers for.

    aspect: "quality" or "speed". numbers: of the trials, ascending. count: observations that its
    mean rests on, of any study. seconds: mean of what one took. split: above 0 for a part that a
    disagreement split off.
    """

    aspect: str
    numbers: tuple[int, ...]
    count: int
    seconds: float
    split: int


def merged(session: Session, study_id: int) -> list[Merged]:
    """The classes that the study's trials point at, those with the most trials first."""
    found: list[Merged] = []
    for pointer in (TrialRow.quality_id, TrialRow.speed_id):
        rows = session.connection().execute(
            select(
                ClassRow.id,
                ClassRow.aspect,
                ClassRow.count,
                ClassRow.seconds,
                ClassRow.split,
                TrialRow.number,
            )
            .join(TrialRow, pointer == ClassRow.id)
            .where(TrialRow.study_id == study_id)
            .order_by(TrialRow.number)
        )
        classes: dict[int, tuple[str, int, float, int]] = {}
        numbers: dict[int, list[int]] = {}
        for class_id, aspect, count, seconds, split, number in rows:
            classes[class_id] = (aspect, count, seconds, split)
            numbers.setdefault(class_id, []).append(number)
        found += [
            Merged(aspect, tuple(numbers[class_id]), count, seconds, split)
            for class_id, (aspect, count, seconds, split) in classes.items()
        ]
    return sorted(found, key=lambda each: (-len(each.numbers), each.aspect, each.numbers))


def failure_times(session: Session, study_id: int) -> dict[int, str]:
    """When each failed trial failed for the last time, by number, in the store's format."""
    rows = session.connection().execute(
        select(TrialRow.number, func.max(FailureRow.created))
        .join(FailureRow, FailureRow.trial_id == TrialRow.id)
        .where(TrialRow.study_id == study_id)
        .group_by(TrialRow.number)
    )
    return {number: created for number, created in rows}


def revision(session: Session, study_id: int) -> str:
    """A short text that is another one once a trial or a measurement was added or has changed.

    Measurements of other studies move it too: they may count in this one's classes.
    """

    states = session.connection().execute(
        select(TrialRow.state, func.count())
        .where(TrialRow.study_id == study_id)
        .group_by(TrialRow.state)
        .order_by(TrialRow.state)
    )
    rungs = session.scalar(
        select(func.count())
        .select_from(RungRow)
        .join(TrialRow, RungRow.trial_id == TrialRow.id)
        .where(TrialRow.study_id == study_id)
    )
    newest = session.scalar(select(func.max(MeasurementRow.id))) or 0
    return "-".join([*(f"{state}{count}" for state, count in states), f"r{rungs}", f"m{newest}"])
