"""Studies in and out of the database."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict
from typing import Any

from sqlalchemy import bindparam, func, select
from sqlalchemy.orm import Session

from paretoken.cache.clock import now
from paretoken.cache.observations import check_seed
from paretoken.cache.schema import StudyRow, TrialRow
from paretoken.cache.trials import SPEEDS, SPEEDUP
from paretoken.spaces.errors import BadInput, BadValue, UnknownName
from paretoken.spaces.objectives import Objective
from paretoken.spaces.records import StudyInfo

STATES = ("done", "stopped", "failed", "pending")
_STUDY = select(StudyRow).where(StudyRow.name == bindparam("name"))
_WANTED = select(StudyRow.id, StudyRow.objectives).where(StudyRow.name == bindparam("name"))


def insert_study(session: Session, info: StudyInfo) -> None:
    """Add a study; raises BadInput where the name is taken or unfit, or an objective is."""
    if not info.name.strip() or not info.name.isprintable():
        raise BadValue(f"a study's name is one line of text; it cannot be {info.name!r}.")
    if any(objective.name == SPEEDUP for objective in info.objectives):
        # No class has such a number, so there would be no points and no front.
        raise BadValue(
            f"a study cannot want {SPEEDUP!r}: that is worked out from a speed and trial 0's, and "
            f"ranks trials as the speed does. Take {' or '.join(SPEEDS)} as the objective."
        )
    if session.scalar(select(StudyRow.id).where(StudyRow.name == info.name)) is not None:
        raise BadInput(
            f"there is a study called {info.name!r} already: "
            "continue it with --resume, or give this one another name with --study."
        )
    session.add(
        StudyRow(
            name=info.name,
            workload=info.workload,
            algorithm=info.algorithm,
            seed=check_seed(info.seed),
            space=info.space,
            objectives=[asdict(objective) for objective in info.objectives],
            options=info.options,
            rungs=list(info.rungs),
            baseline=info.baseline,
            created=info.created or now(),
        )
    )


def study_row(session: Session, name: str) -> StudyRow:
    """The study of that name; raises UnknownName with the known ones."""
    row = session.scalar(_STUDY, {"name": name})
    if row is None:
        names = session.scalars(select(StudyRow.name))
        raise UnknownName("study", name, names, "`paretoken studies` lists them.")
    return row


def find_study(session: Session, name: str) -> tuple[int, tuple[Objective, ...]]:
    """The id of the study of that name, and what it wants; raises UnknownName."""
    found = session.connection().execute(_WANTED, {"name": name}).one_or_none()
    if found is None:
        row = study_row(session, name)  # says which studies there are
        return row.id, _objectives(row.objectives)
    study_id, objectives = found
    return study_id, _objectives(objectives)


def study_info(row: StudyRow) -> StudyInfo:
    """The record of a row."""
    return StudyInfo(
        name=row.name,
        workload=row.workload,
        algorithm=row.algorithm,
        seed=row.seed,
        space=row.space,
        objectives=_objectives(row.objectives),
        options=row.options,
        created=row.created,
        rungs=tuple(row.rungs),
        baseline=row.baseline,
    )


def _objectives(stored: Iterable[Mapping[str, Any]]) -> tuple[Objective, ...]:
    return tuple(Objective(**fields) for fields in stored)


def all_studies(session: Session) -> list[tuple[StudyInfo, dict[str, int]]]:
    """Every study in the order they were made, with its number of trials in each state."""
    counted = session.execute(
        select(TrialRow.study_id, TrialRow.state, func.count()).group_by(
            TrialRow.study_id, TrialRow.state
        )
    )
    counts = {(study_id, state): count for study_id, state, count in counted}
    return [
        (study_info(row), {state: counts.get((row.id, state), 0) for state in STATES})
        for row in session.scalars(select(StudyRow).order_by(StudyRow.id))
    ]
