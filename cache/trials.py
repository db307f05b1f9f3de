"""A study's trials as records: rows put together, and the speed-up over trial 0 worked out."""

from __future__ import annotations

import math
from collections.abc import Collection, Container, Iterable, Mapping
from functools import cache
from typing import Any

from sqlalchemy import ColumnElement, Select, Subquery, bindparam, func, select, union
from sqlalchemy.orm import Session, aliased

from paretoken.cache.classes import read_means
from paretoken.cache.rungs import read_rungs
from paretoken.cache.schema import (
    CandidateRow,
    ClassRow,
    EnvironmentRow,
    FailureRow,
    MeasurementRow,
    TrialRow,
)
from paretoken.spaces.objectives import Objective
from paretoken.spaces.records import Environment, Failure, Quantity, Trial
from paretoken.spaces.settings import loads

SPEEDUP = "speedup"
# What a speed-up is the ratio of, where the study's objectives do not say.
SPEEDS = ("images_per_s", "tokens_per_s", "suggestions_per_s")


def speed_of(objectives: Iterable[Objective], known: Container[str]) -> str | None:
    """The name of the number that a study's speed-up is the ratio of, among those known."""
    named = (objective.name for objective in objectives if objective.name in SPEEDS)
    return next((name for name in (*named, *SPEEDS) if name in known), None)


def read_trials(
    session: Session,
    study_id: int,
    objectives: Iterable[Objective],
    numbers: Collection[int] | None = None,
) -> list[Trial]:
    """The trials of a study in number order, in a few queries however many there are.

    numbers: only these, all by default. Their speed-up is known where trial 0 is among them.
    """
    asked = {"study": study_id} | ({} if numbers is None else {"numbers": list(numbers)})
    used, query = _queries(numbers is None)
    means: Mapping[int | None, Mapping[str, Quantity]] = dict(
        read_means(session, used, asked).items()
    )
    rows = session.connection().execute(query, asked)
    rungs = read_rungs(session, study_id, numbers)
    speedups = Speedups(objectives)
    trials: dict[int, Trial] = {}
    for number, candidate_id, json, drawn, state, origins, quality_id, speed_id, *rest in rows:
        of_classes, (device, software, commit, reason, detail, traceback) = rest[:4], rest[4:]
        environment = None if device is None else Environment(device, software, commit)
        fresh = {"quality": of_classes[0], "speed": of_classes[2]}
        seconds = {"quality": of_classes[1], "speed": of_classes[3]}
        speeds = means.get(speed_id, {})
        quantities = {
            **means.get(quality_id, {}),
            **speeds,
            **speedups.of(number, speed_id, speeds, environment),
        }
        trials[number] = Trial(  # of several failures the last stays
            number=number,
            candidate_id=candidate_id,
            tree=loads(json),
            numbers=tuple(drawn),
            state=state,
            quantities=quantities,
            origin=origins,
            failure=None if reason is None else Failure(reason, detail, traceback),
            environment=environment,
            fresh={aspect: count for aspect, count in fresh.items() if count is not None},
            seconds={aspect: mean for aspect, mean in seconds.items() if mean is not None},
            rungs=rungs.get(number, ()),
        )
    return list(trials.values())


@cache
def _queries(all_trials: bool) -> tuple[Subquery, Select[*tuple[Any, ...]]]:
    """The classes of the trials of a study, and what `read_trials` wants to know of them."""
    wanted = [TrialRow.study_id == bindparam("study")]
    if not all_trials:
        wanted.append(TrialRow.number.in_(bindparam("numbers", expanding=True)))
    quality, speed = aliased(ClassRow), aliased(ClassRow)
    newest = _newest(wanted)
    query = (
        select(
            TrialRow.number,
            TrialRow.candidate_id,
            CandidateRow.json,
            TrialRow.numbers,
            TrialRow.state,
            TrialRow.origins,
            TrialRow.quality_id,
            TrialRow.speed_id,
            quality.fresh,
            quality.seconds,
            speed.fresh,
            speed.seconds,
            EnvironmentRow.device,
            EnvironmentRow.software,
            EnvironmentRow.commit,
            FailureRow.reason,
            FailureRow.detail,
            FailureRow.traceback,
        )
        .join(CandidateRow, TrialRow.candidate_id == CandidateRow.id)
        .outerjoin(quality, TrialRow.quality_id == quality.id)
        .outerjoin(speed, TrialRow.speed_id == speed.id)
        .outerjoin(newest, newest.c.class_id == _where_measured())
        .outerjoin(MeasurementRow, MeasurementRow.id == newest.c.id)
        .outerjoin(EnvironmentRow, MeasurementRow.environment_id == EnvironmentRow.id)
        .outerjoin(FailureRow, FailureRow.trial_id == TrialRow.id)
        .where(*wanted)
        .order_by(TrialRow.number, FailureRow.id)
    )
    return _used(wanted), query


def _used(wanted: Iterable[ColumnElement[bool]]) -> Subquery:
    """The classes that the wanted trials point at."""
    return union(
        select(TrialRow.quality_id.label("id")).where(*wanted),
        select(TrialRow.speed_id).where(*wanted),
    ).subquery()


def _where_measured() -> ColumnElement[int | None]:
    """The class that says where a trial was measured: a speed knows better than a quality."""
    return func.coalesce(TrialRow.speed_id, TrialRow.quality_id)


def _newest(wanted: Iterable[ColumnElement[bool]]) -> Subquery:
    """The newest measurement (`id`) of each such class (`class_id`)."""
    asked = select(_where_measured().label("id")).where(*wanted).distinct()
    return (
        select(MeasurementRow.class_id, func.max(MeasurementRow.id).label("id"))
        .where(MeasurementRow.class_id.in_(asked))
        .group_by(MeasurementRow.class_id)
        .subquery()
    )


class Speedups:
    """How many times as fast as trial 0 each trial is; feed it the trials in number order."""

    def __init__(self, objectives: Iterable[Objective]) -> None:
        self._objectives = tuple(objectives)
        self._plain: Quantity | None = None
        self._plain_id: int | None = None
        self._plain_environment: Environment | None = None

    def of(
        self,
        number: int,
        speed_id: int | None,
        quantities: Mapping[str, Quantity],
        environment: Environment | None,
    ) -> dict[str, Quantity]:
        """{"speedup": …}, or {} where there is no speed of the same device and software.

        The spread is of first order, the two speeds independent: (r s/v)^2 + (r s0/v0)^2, where
        r = v/v0. Trial 0, and whoever shares its class, is exactly 1.
        """
        if number == 0:
            name = speed_of(self._objectives, quantities)
            self._plain = None if name is None else quantities[name]
            self._plain_id, self._plain_environment = speed_id, environment
        plain = self._plain
        if plain is None or not plain.value or plain.name not in quantities:
            return {}
        if not _speeds_compare(environment, self._plain_environment):
            return {}
        speed = quantities[plain.name]
        ratio, spread = 1.0, 0.0
        if speed_id != self._plain_id:
            ratio = speed.value / plain.value
            spread = math.hypot(speed.spread / plain.value, ratio * plain.spread / plain.value)
        derived = Quantity(
            name=SPEEDUP,
            value=ratio,
            spread=spread,
            samples=min(speed.samples, plain.samples),
            unit="x",
            higher=speed.higher,
            comparable=speed.comparable,
            detail={"of": plain.name, "against": "trial 0"},
        )
        return {SPEEDUP: derived}


def _speeds_compare(one: Environment | None, other: Environment | None) -> bool:
    if one is None or other is None:
        return False
    return (one.device, one.software) == (other.device, other.software)
