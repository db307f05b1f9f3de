"""A trial's life: proposed, perhaps measured at rungs, then done, stopped or failed, once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from sqlalchemy import bindparam, select
from sqlalchemy.orm import Session

from paretoken.cache import points
from paretoken.cache.bulk import insert_if_new, insert_rows
from paretoken.cache.clock import now
from paretoken.cache.digest import candidate_id as digest_of
from paretoken.cache.schema import CandidateRow, FailureRow, RungRow, StudyRow, TrialRow
from paretoken.cache.studies import study_row
from paretoken.spaces.errors import BadInput
from paretoken.spaces.records import Failure
from paretoken.spaces.settings import Tree, dumps

_STUDY = select(StudyRow.id).where(StudyRow.name == bindparam("study"))
_TAKEN = select(TrialRow.id).where(
    TrialRow.study_id == bindparam("of"), TrialRow.number == bindparam("number")
)
_TRIAL = (
    select(TrialRow)
    .join(StudyRow, TrialRow.study_id == StudyRow.id)
    .where(StudyRow.name == bindparam("study"), TrialRow.number == bindparam("number"))
)


def propose(session: Session, study: str, number: int, tree: Tree, numbers: Sequence[float]) -> str:
    """Add a pending trial, and its candidate where that is new; returns the candidate's id."""
    digest = digest_of(tree)
    connection = session.connection()
    study_id = connection.scalar(_STUDY, {"study": study}) or study_row(session, study).id
    if connection.scalar(_TAKEN, {"of": study_id, "number": number}) is not None:
        raise BadInput(
            f"study {study!r} has a trial {number} already: another process is running this study."
        )
    insert_if_new(session, CandidateRow, id=digest, json=dumps(tree))
    new = {
        "study_id": study_id,
        "number": number,
        "candidate_id": digest,
        "numbers": list(numbers),
        "state": "pending",
        "origins": {},
    }
    insert_rows(session, TrialRow, [new])
    return digest


def finish(
    session: Session,
    study: str,
    number: int,
    quality_class_id: int | None,
    speed_class_id: int | None,
    origin: Mapping[str, str],
) -> None:
    """A pending trial is done: it points at its classes and has its place in the study."""
    trial = _pending(session, study, number)
    trial.state = "done"
    trial.quality_id, trial.speed_id = quality_class_id, speed_class_id
    trial.origins = dict(origin)
    session.flush()
    points.place(session, [trial])


def reach(
    session: Session,
    study: str,
    number: int,
    samples: int,
    quality_class_id: int,
    speed_class_id: int,
    origin: Mapping[str, str],
) -> None:
    """A pending trial was measured with few samples; others may be compared with it from now on."""
    trial = _pending(session, study, number)
    trial.speed_id, trial.origins = speed_class_id, {"speed": origin["speed"]}
    session.add(
        RungRow(
            trial_id=trial.id, samples=samples, class_id=quality_class_id, origin=origin["quality"]
        )
    )


def stop(session: Session, study: str, number: int) -> None:
    """A pending trial is measured no further than at its last rung."""
    _pending(session, study, number).state = "stopped"


def fail(session: Session, study: str, number: int, failure: Failure) -> None:
    """A pending trial has failed, and this is why."""
    trial = _pending(session, study, number)
    trial.state = "failed"
    session.add(
        FailureRow(
            trial_id=trial.id,
            reason=_storable(failure.reason),
            detail=_storable(failure.detail),
            traceback=_storable(failure.traceback),
            created=now(),
        )
    )


def _pending(session: Session, study: str, number: int) -> TrialRow:
    """The row of a trial that may still be settled; raises BadInput."""
    trial = session.scalar(_TRIAL, {"study": study, "number": number})
    if trial is None:
        raise BadInput(f"study {study!r} has no trial {number}: propose it first.")
    if trial.state != "pending":
        raise BadInput(f"trial {number} of study {study!r} is {trial.state} already.")
    return trial


def _storable(text: str) -> str:
    """Text without what a database refuses: NUL and halves of surrogate pairs, shown escaped."""
    return text.replace("\0", "\\0").encode("utf-8", "backslashreplace").decode()
