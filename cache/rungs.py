"""Rungs: what trials showed with few samples, and which of them need no more samples.

Numbers of different rungs never meet: a trial is compared with what others showed at the same one.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from functools import cache
from typing import Any

from sqlalchemy import Select, Subquery, bindparam, select
from sqlalchemy.orm import Session, aliased

from paretoken.cache.bulk import slices
from paretoken.cache.classes import read_means
from paretoken.cache.front import SIGNIFICANT
from paretoken.cache.schema import ClassRow, MeanRow, RungRow, TrialRow
from paretoken.spaces.objectives import Objective
from paretoken.spaces.records import Quantity, Rung

_Numbers = Mapping[str, Quantity]

_OWN = (
    select(
        TrialRow.candidate_id,
        RungRow.class_id,
        ClassRow.id.label("speed_id"),
        ClassRow.device,
        ClassRow.software,
    )
    .join(TrialRow, RungRow.trial_id == TrialRow.id)
    .join(ClassRow, TrialRow.speed_id == ClassRow.id)
    .where(
        TrialRow.study_id == bindparam("study"),
        TrialRow.number == bindparam("number"),
        RungRow.samples == bindparam("samples"),
    )
)
_CLASSES = (
    select(ClassRow.id).where(ClassRow.id.in_(bindparam("classes", expanding=True))).subquery()
)


def read_rungs(
    session: Session, study_id: int, numbers: Collection[int] | None = None
) -> dict[int, tuple[Rung, ...]]:
    """What trials of a study showed at their rungs, the fewest samples first, by trial number.

    numbers: only these, all by default.
    """
    asked = {"study": study_id} | ({} if numbers is None else {"numbers": list(numbers)})
    query, classes = _rungs(numbers is None)
    rows = session.connection().execute(query, asked).all()
    means = read_means(session, classes, asked) if rows else {}
    found: dict[int, list[Rung]] = {}
    for number, samples, class_id, origin, seconds in rows:
        rung = Rung(samples, means.get(class_id, {}), origin, seconds)
        found.setdefault(number, []).append(rung)
    return {number: tuple(rungs) for number, rungs in found.items()}


def beaten(
    session: Session, study_id: int, number: int, samples: int, objectives: Sequence[Objective]
) -> bool:
    """Whether another candidate of the study, at the same rung, is surely better in everything.

    False where the trial lacks an objective's number there. A failed trial beats nobody, and speeds
    compare on one device and software.
    """
    asked = {"study": study_id, "number": number, "samples": samples}
    own = session.connection().execute(_OWN, asked).one_or_none()
    if own is None:
        return False
    means = _means(session, [(own.class_id, own.speed_id)])
    speeds = means.get(own.speed_id, {})
    mine = {**means.get(own.class_id, {}), **speeds}
    if any(wanted.name not in mine for wanted in objectives):
        return False
    # The database finds who is ahead in everything by value; noise is asked about these alone.
    limits: dict[str, Any] = {}
    for at, wanted in enumerate(objectives):
        limit = mine[wanted.name]
        limits |= {f"name{at}": wanted.name, f"value{at}": limit.value, f"as{at}": limit.comparable}
    query = _ahead(tuple((wanted.name in speeds, wanted.higher) for wanted in objectives))
    place = {"candidate": own.candidate_id, "device": own.device, "software": own.software}
    ahead = session.connection().execute(query, {**asked, **place, **limits}).all()
    for some in slices(ahead):
        theirs = _means(session, some)
        for quality_id, speed_id in some:
            if _surely_better({**theirs[quality_id], **theirs[speed_id]}, mine, objectives):
                return True
    return False


def _surely_better(other: _Numbers, mine: _Numbers, objectives: Iterable[Objective]) -> bool:
    """Whether it leads beyond noise in every objective.

    In every one, unlike `front.indistinguishable`, which asks for one: here a wrong answer costs a
    point of the front, a missed one costs samples only. So what is as good by its law is not ahead.
    """
    for wanted in objectives:
        theirs, own = other[wanted.name], mine[wanted.name]
        lead = wanted.loss(own.value) - wanted.loss(theirs.value)
        if lead <= SIGNIFICANT * math.hypot(theirs.spread, own.spread):
            return False
    return True


def _means(session: Session, classes: Sequence[Sequence[int]]) -> dict[int, dict[str, Quantity]]:
    """The means of these pairs of classes, by class."""
    wanted = sorted({class_id for pair in classes for class_id in pair})
    return read_means(session, _CLASSES, {"classes": wanted})


@cache
def _rungs(all_trials: bool) -> tuple[Select[int, int, int, str, float], Subquery]:
    """What `read_rungs` wants to know of the rungs of a study, and their classes."""
    wanted = [TrialRow.study_id == bindparam("study")]
    if not all_trials:
        wanted.append(TrialRow.number.in_(bindparam("numbers", expanding=True)))
    query = (
        select(TrialRow.number, RungRow.samples, RungRow.class_id, RungRow.origin, ClassRow.seconds)
        .join(TrialRow, RungRow.trial_id == TrialRow.id)
        .join(ClassRow, RungRow.class_id == ClassRow.id)
        .where(*wanted)
        .order_by(TrialRow.number, RungRow.samples)
    )
    used = select(RungRow.class_id).join(TrialRow, RungRow.trial_id == TrialRow.id).where(*wanted)
    return query, used.distinct().subquery()


@cache
def _ahead(objectives: tuple[tuple[bool, bool], ...]) -> Select[int, int]:
    """The classes, at one rung, of who has better values in all of the objectives.

    objectives: whether each is a speed, and whether more is better.
    """
    query = (
        select(RungRow.class_id, ClassRow.id)
        .join(TrialRow, RungRow.trial_id == TrialRow.id)
        .join(ClassRow, TrialRow.speed_id == ClassRow.id)
        .where(
            TrialRow.study_id == bindparam("study"),
            TrialRow.candidate_id != bindparam("candidate"),
            TrialRow.state != "failed",
            RungRow.samples == bindparam("samples"),
            ClassRow.device == bindparam("device"),
            ClassRow.software == bindparam("software"),
        )
        .distinct()
    )
    for at, (is_speed, higher) in enumerate(objectives):
        mean = aliased(MeanRow)
        limit: Any = bindparam(f"value{at}")
        query = query.join(
            mean,
            (mean.class_id == (ClassRow.id if is_speed else RungRow.class_id))
            & (mean.name == bindparam(f"name{at}"))
            & (mean.comparable == bindparam(f"as{at}"))
            & (mean.mean > limit if higher else mean.mean < limit),
        )
    return query
