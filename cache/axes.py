"""What a study's numbers are compared on: its objectives, under the conditions of trial 0.

Trial 0 is plain decoding. A number that was found under other conditions than its number of the
same name, or a speed of another device or other software, compares with nothing in the study.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import ColumnElement, SQLColumnExpression, and_, or_, select
from sqlalchemy.orm import InstrumentedAttribute, Session, aliased

from paretoken.cache.schema import ClassRow, MeanRow, StudyRow, TrialRow
from paretoken.cache.studies import study_objectives
from paretoken.cache.trials import SPEEDS
from paretoken.spaces.objectives import Objective


@dataclass(frozen=True)
class Plain:
    """One number of trial 0, the class that it comes from and the conditions it was found under."""

    aspect: str
    class_id: int
    mean: float
    comparable: str
    device: str
    software: str


@dataclass(frozen=True)
class Axis:
    """One objective and the conditions under which a number of that name takes part."""

    objective: Objective
    plain: Plain

    @property
    def class_column(self) -> InstrumentedAttribute[int | None]:
        """The trial's column that names the class to look in."""
        return class_column(self.plain.aspect)


def class_column(aspect: str) -> InstrumentedAttribute[int | None]:
    """The column by which a trial points at its class of that aspect."""
    return TrialRow.speed_id if aspect == "speed" else TrialRow.quality_id


def finite(value: SQLColumnExpression[float]) -> ColumnElement[bool]:
    """Whether a column holds a number that compares; PostgreSQL sorts NaN above all others."""
    # The sum keeps planners from taking this for the range to look up in an index.
    return (value + 0.0).between(-sys.float_info.max, sys.float_info.max)


def plain_numbers(session: Session, study_id: int) -> dict[str, Plain]:
    """The numbers of a study's trial 0 by name; none before it is finished."""
    rows = session.connection().execute(
        select(
            MeanRow.name,
            ClassRow.aspect,
            ClassRow.id,
            MeanRow.mean,
            MeanRow.comparable,
            ClassRow.device,
            ClassRow.software,
        )
        .join(ClassRow, MeanRow.class_id == ClassRow.id)
        .join(TrialRow, or_(TrialRow.quality_id == ClassRow.id, TrialRow.speed_id == ClassRow.id))
        .where(TrialRow.study_id == study_id, TrialRow.number == 0, finite(MeanRow.mean))
        .order_by(ClassRow.aspect)
    )
    return {
        name: Plain(aspect, class_id, mean, comparable, device, software)
        for name, aspect, class_id, mean, comparable, device, software in rows
    }


def objectives_of(session: Session, study_id: int) -> tuple[Objective, ...]:
    """What the study wants, in its order."""
    return study_objectives(session.get_one(StudyRow, study_id))


def first_two(
    objectives: Sequence[Objective], numbers: Mapping[str, Plain]
) -> tuple[Axis, Axis] | None:
    """The axes of the study's two-objective front, or None where there is none (yet)."""
    if len(objectives) < 2 or any(wanted.name not in numbers for wanted in objectives[:2]):
        return None
    x, y = (Axis(wanted, numbers[wanted.name]) for wanted in objectives[:2])
    return x, y


def speed_of(objectives: Sequence[Objective], numbers: Mapping[str, Plain]) -> str | None:
    """The name of the number that a study's speed-up is the ratio of."""
    named = [wanted.name for wanted in objectives if wanted.name in SPEEDS]
    return next((name for name in (*named, *SPEEDS) if name in numbers), None)


def mean_on(axis: Axis) -> tuple[type[MeanRow], ColumnElement[bool]]:
    """A row of `means` to join a trial with, and the condition: its number on that axis."""
    mean = aliased(MeanRow)
    condition = and_(
        mean.class_id == axis.class_column,
        mean.name == axis.objective.name,
        mean.comparable == axis.plain.comparable,
        finite(mean.mean),
    )
    return mean, condition


def same_place(axis: Axis) -> tuple[type[ClassRow], ColumnElement[bool]]:
    """A row of `classes` to join a trial with, and the condition: measured where trial 0 was."""
    place = aliased(ClassRow)
    condition = and_(
        place.id == axis.class_column,
        place.device == axis.plain.device,
        place.software == axis.plain.software,
    )
    return place, condition


def loss_of(axis: Axis, mean: SQLColumnExpression[float]) -> SQLColumnExpression[float]:
    """A column turned so that smaller is better, as `Objective.loss` turns a number."""
    return -mean if axis.objective.higher else mean
