"""The trials that a question is about, with their numbers and settings as SQL expressions."""

from __future__ import annotations

import sys
from abc import ABC, abstractmethod
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Double,
    ScalarSelect,
    Select,
    SQLColumnExpression,
    cast,
    exists,
    null,
    select,
)
from sqlalchemy.orm import Session, aliased

from paretoken.cache.numbers import Numbers, class_column, plain_found, read_numbers
from paretoken.cache.schema import CandidateRow, ClassRow, MeanRow, PointRow, TrialRow
from paretoken.cache.settings_json import SettingsColumn
from paretoken.cache.trials import SPEEDUP, speed_of
from paretoken.spaces.objectives import Objective

_LEAST, _MOST = -sys.float_info.max, sys.float_info.max


class Rows(ABC):
    """Trials of one study, each candidate once."""

    def __init__(self, numbers: Numbers, dialect: str, trial: SQLColumnExpression[int]) -> None:
        """trial: the column of its number."""
        self._numbers, self.trial = numbers, trial
        self.objectives: tuple[Objective, ...] = numbers.objectives
        self.settings = SettingsColumn(dialect)

    @abstractmethod
    def select(self, *columns: Any, settings: bool) -> Select[*tuple[Any, ...]]:
        """Columns of these trials. settings: whether any of them, or a condition, needs these."""

    @abstractmethod
    def number(self, name: str) -> ColumnElement[float]:
        """A number that counts, NULL for a trial that has none."""

    def _looked_up(self, name: str, *, comparable: bool) -> ScalarSelect[float]:
        """A number from the trial's class. comparable: under the conditions of trial 0's only."""
        terms = self._numbers.terms[name]
        twin = aliased(TrialRow)
        own = (
            select(MeanRow.mean)
            .join(ClassRow, MeanRow.class_id == ClassRow.id)
            .join(twin, getattr(twin, class_column(terms.aspect).key) == ClassRow.id)
            .where(
                twin.study_id == self._numbers.study_id,
                twin.number == self.trial,
                MeanRow.name == name,
                MeanRow.mean.between(_LEAST, _MOST),
            )
        )
        if comparable and terms.comparable is not None:
            own = own.where(
                MeanRow.comparable == terms.comparable,
                ClassRow.device == terms.device,
                ClassRow.software == terms.software,
            )
        return own.correlate(PointRow, TrialRow).scalar_subquery()


class OnPoints(Rows):
    """The candidates that have a point: those that compare with trial 0, in one table."""

    def __init__(
        self, numbers: Numbers, dialect: str, speed: str | None, plain: float | None
    ) -> None:
        """speed: the number that the speed-up is of, plain: trial 0's."""
        super().__init__(numbers, dialect, PointRow.number)
        self._speed, self._plain = speed, plain
        self._axes: dict[str, ColumnElement[float]] = {}
        for axis, column in zip(numbers.axes or (), (PointRow.x, PointRow.y), strict=True):
            self._axes.setdefault(axis.name, -column if axis.higher else column.expression)

    def select(self, *columns: Any, settings: bool) -> Select[*tuple[Any, ...]]:
        found = select(*columns).select_from(PointRow)
        if settings:
            of_point = (TrialRow.study_id == PointRow.study_id) & (
                TrialRow.number == PointRow.number
            )
            found = found.join(TrialRow, of_point).join(
                CandidateRow, TrialRow.candidate_id == CandidateRow.id
            )
        return found.where(PointRow.study_id == self._numbers.study_id)

    def number(self, name: str) -> ColumnElement[float]:
        if name == SPEEDUP:
            if self._speed is None or not self._plain:
                return _nothing()
            return self.number(self._speed) / self._plain
        if name in self._axes:
            return self._axes[name]
        if name not in self._numbers.terms:
            return _nothing()
        slot = self._numbers.slots[name]
        if slot is None:
            return self._looked_up(name, comparable=True)
        column: ColumnElement[float] = PointRow.__table__.c[f"n{slot}"]
        return column


class OnDevice(Rows):
    """The finished candidates that were timed on another kind of device than trial 0.

    Their speeds compare with each other. No speed-up is known: plain decoding was timed elsewhere.
    """

    def __init__(self, numbers: Numbers, dialect: str, device: str) -> None:
        super().__init__(numbers, dialect, TrialRow.number)
        self._device = device

    def select(self, *columns: Any, settings: bool) -> Select[*tuple[Any, ...]]:
        before, there = aliased(TrialRow), aliased(ClassRow)
        earlier = (
            exists()
            .where(
                before.candidate_id == TrialRow.candidate_id,
                before.study_id + 0 == TrialRow.study_id,  # by the candidate's index
                before.state == "done",
                before.number < TrialRow.number,
                before.speed_id == there.id,
                there.device == self._device,
            )
            .correlate(TrialRow)
        )
        return (
            select(*columns)
            .select_from(TrialRow)
            .join(CandidateRow, TrialRow.candidate_id == CandidateRow.id)
            .join(ClassRow, TrialRow.speed_id == ClassRow.id)
            .where(
                TrialRow.study_id == self._numbers.study_id,
                TrialRow.state == "done",
                ClassRow.device == self._device,
                ~earlier,
            )
        )

    def number(self, name: str) -> ColumnElement[float]:
        if name not in self._numbers.terms:
            return _nothing()
        return self._looked_up(name, comparable=False)


def rows_of(session: Session, study_id: int, device: str = "") -> Rows | None:
    """The trials of a study that may be asked for; None before plain decoding is finished.

    device: another kind than trial 0 was timed on, or "" for that one.
    """
    numbers = read_numbers(session, study_id)
    if numbers.axes is None:
        return None
    speed = speed_of(numbers.objectives, numbers.plain)
    dialect = session.connection().dialect.name
    if device and (speed is None or device != numbers.terms[speed].device):
        return OnDevice(numbers, dialect, device)
    plain = None if speed is None else _plain_mean(session, numbers, speed)
    return OnPoints(numbers, dialect, speed, plain)


def number_names(session: Session, study_id: int) -> list[str]:
    """What a study has numbers of, by name."""
    numbers = read_numbers(session, study_id)
    ratio = [SPEEDUP] if speed_of(numbers.objectives, numbers.plain) else []
    return sorted([*numbers.terms, *ratio])


def _plain_mean(session: Session, numbers: Numbers, name: str) -> float | None:
    """Trial 0's number of that name."""
    for found in plain_found(session, numbers.study_id):
        if name in (counted := numbers.counted(found)):
            return counted[name]
    return None


def _nothing() -> ColumnElement[float]:
    """A number that no trial has."""
    return cast(null(), Double)
