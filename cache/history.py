"""How a study's front grew: its hypervolume after each finished trial, in one pass.

The volume is worked out anew only where a trial joins the front, and from the front alone.
"""

from __future__ import annotations

import bisect
import math
from collections.abc import Mapping
from dataclasses import dataclass

from sqlalchemy import func, select, union
from sqlalchemy.orm import Session

from paretoken.cache.clock import moment
from paretoken.cache.numbers import objectives_of
from paretoken.cache.overview import failure_times
from paretoken.cache.schema import MeasurementRow, PointRow, StudyRow, TrialRow
from paretoken.spaces.errors import BadInput, BadValue


@dataclass(frozen=True)
class Moment:
    """After one finished trial: the volume so far, and in how many different places the front is.

    time: by which this trial and all before it had been observed, in the store's format; not
    before the study began. An answer from the store is as old as the class's first observation.
    seconds: since the study began, pauses between its searches included. evaluations: measurements
    of the study's candidates made since it began, those of stopped and failed ones and fresh ones
    of the front too; measuring_s: the seconds that these took, one after the other.
    """

    number: int
    time: str
    seconds: float
    evaluations: int
    measuring_s: float
    volume: float
    places: int


def history(session: Session, study_id: int, reference: Mapping[str, float]) -> list[Moment]:
    """The hypervolume of the study's two-objective front after each trial, in number order.

    reference: by objective name, in the objective's unit, as in `front.hypervolume`. The values
    are today's class means. A finished trial without a point adds nothing; stopped and failed
    ones are not listed.
    """
    objectives = objectives_of(session, study_id)[:2]
    if len(objectives) < 2:
        raise BadInput("a hypervolume over time needs a study of two objectives, not of one.")
    for objective in objectives:
        if not math.isfinite(reference.get(objective.name, math.nan)):
            raise BadValue(f"a hypervolume needs a finite reference value of {objective.name!r}.")
    growing = _Front([objective.loss(reference[objective.name]) for objective in objectives])
    times = _times(session, study_id)
    rows = session.connection().execute(
        select(TrialRow.id, TrialRow.number, PointRow.x, PointRow.y)
        .outerjoin(
            PointRow,
            (PointRow.study_id == TrialRow.study_id) & (PointRow.number == TrialRow.number),
        )
        .where(TrialRow.study_id == study_id, TrialRow.state == "done")
        .order_by(TrialRow.number)
    )
    moments = []
    begun = time = session.get_one(StudyRow, study_id).created
    spent = _Spent(session, study_id, begun)
    for trial_id, number, x, y in rows:
        if x is not None:
            growing.add(x, y)
        time = max(time, times[trial_id])
        moments.append(
            Moment(
                number,
                time,
                (moment(time) - moment(begun)).total_seconds(),
                *spent.until(time),
                growing.volume,
                growing.places,
            )
        )
    return moments


def end_times(session: Session, study_id: int) -> dict[int, str]:
    """When each trial that is no longer pending ended, by number; as old as its classes at least.

    A time is that of the observations, as in `Moment`, or of the failure.
    """
    rows = session.connection().execute(
        select(TrialRow.id, TrialRow.number).where(
            TrialRow.study_id == study_id, TrialRow.state.in_(("done", "stopped"))
        )
    )
    times, created = _times(session, study_id), session.get_one(StudyRow, study_id).created
    ended = {number: max(created, times[trial_id]) for trial_id, number in rows}
    return failure_times(session, study_id) | ended


def _times(session: Session, study_id: int) -> dict[int, str]:
    """When each trial's candidate was first observed in both classes, or the class was."""
    trials = session.connection().execute(
        select(TrialRow.id, TrialRow.candidate_id, TrialRow.quality_id, TrialRow.speed_id).where(
            TrialRow.study_id == study_id
        )
    )
    used = union(
        select(TrialRow.quality_id).where(TrialRow.study_id == study_id),
        select(TrialRow.speed_id).where(TrialRow.study_id == study_id),
    )
    observed = session.connection().execute(
        select(
            MeasurementRow.class_id, MeasurementRow.candidate_id, func.min(MeasurementRow.created)
        )
        .where(MeasurementRow.class_id.in_(used))
        .group_by(MeasurementRow.class_id, MeasurementRow.candidate_id)
    )
    own: dict[tuple[int | None, str], str] = {}
    first: dict[int | None, str] = {}
    for class_id, candidate_id, created in observed:
        own[class_id, candidate_id] = created
        first[class_id] = min(created, first.get(class_id, created))
    return {
        trial_id: max(
            own.get((class_id, candidate_id), first.get(class_id, "")) for class_id in classes
        )
        for trial_id, candidate_id, *classes in trials
    }


class _Spent:
    """The measurements of a study's candidates since it began."""

    def __init__(self, session: Session, study_id: int, begun: str) -> None:
        own = select(TrialRow.candidate_id).where(TrialRow.study_id == study_id)
        rows = session.connection().execute(
            select(MeasurementRow.created, MeasurementRow.seconds)
            .where(MeasurementRow.candidate_id.in_(own), MeasurementRow.created >= begun)
            .order_by(MeasurementRow.created)
        )
        self._times: list[str] = []
        self._seconds = [0.0]
        for created, seconds in rows:
            self._times.append(created)
            self._seconds.append(self._seconds[-1] + seconds)

    def until(self, time: str) -> tuple[int, float]:
        """How many were made by then, and the seconds they took."""
        count = bisect.bisect_right(self._times, time)
        return count, self._seconds[count]


class _Front:
    """The different places of a growing two-objective front, x rising and y falling."""

    def __init__(self, corner: list[float]) -> None:
        self._corner = corner
        self._xs: list[float] = []
        self._ys: list[float] = []
        self.volume = 0.0

    @property
    def places(self) -> int:
        """In how many different places points are."""
        return len(self._xs)

    def add(self, x: float, y: float) -> None:
        """Take a point in, unless one there is at least as good in both."""
        import moocore  # type: ignore[import-untyped]  # a tenth of a second, so not on top

        before = bisect.bisect_right(self._xs, x)
        if before and self._ys[before - 1] <= y:
            return
        start = bisect.bisect_left(self._xs, x)
        end = start
        while end < len(self._xs) and self._ys[end] >= y:
            end += 1
        self._xs[start:end], self._ys[start:end] = [x], [y]
        places = list(zip(self._xs, self._ys, strict=True))
        self.volume = float(moocore.hypervolume(places, ref=self._corner))
