"""A trial's life: proposed, perhaps measured at rungs, then done, stopped or failed, once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from sqlalchemy import and_, bindparam, select, update
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

# A study's id, and the id and the state of its trial of that number, if there is one.
_TRIAL = (
    select(StudyRow.id, TrialRow.id, TrialRow.state)
    .outerjoin(
        TrialRow, and_(TrialRow.study_id == StudyRow.id, TrialRow.number == bindparam("of_number"))
    )
    .where(StudyRow.name == bindparam("of_study"))
)
_SETTLE = update(TrialRow).where(TrialRow.id == bindparam("of_trial"))
_DONE = _SETTLE.values(
    state="done",
    quality_id=bindparam("quality"),
    speed_id=bindparam("speed"),
    origins=bindparam("origin"),
)
_TIMED = _SETTLE.values(speed_id=bindparam("speed"), origins=bindparam("origin"))
_STOPPED = _SETTLE.values(state="stopped")
_FAILED = _SETTLE.values(state="failed")


def propose(session: Session, study: str, number: int, tree: Tree, numbers: Sequence[float]) -> str:
    """Add a pending trial, and its candidate where that is new; returns the candidate's id."""
    digest = digest_of(tree)
    study_id, trial_id, _ = _find(session, study, number)
    if trial_id is not None:
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
    study_id, trial_id = _pending(session, study, number)
    settled = {
        "of_trial": trial_id,
        "quality": quality_class_id,
        "speed": speed_class_id,
        "origin": dict(origin),
    }
    session.connection().execute(_DONE, settled)
    points.place(session, study_id, {number: trial_id})


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
    _, trial_id = _pending(session, study, number)
    speed = {"of_trial": trial_id, "speed": speed_class_id, "origin": {"speed": origin["speed"]}}
    session.connection().execute(_TIMED, speed)
    rung = {
        "trial_id": trial_id,
        "samples": samples,
        "class_id": quality_class_id,
        "origin": origin["quality"],
    }
    insert_rows(session, RungRow, [rung])


def stop(session: Session, study: str, number: int) -> None:
    """A pending trial is measured no further than at its last rung."""
    _, trial_id = _pending(session, study, number)
    session.connection().execute(_STOPPED, {"of_trial": trial_id})


def fail(session: Session, study: str, number: int, failure: Failure) -> None:
    """A pending trial has failed, and this is why."""
    _, trial_id = _pending(session, study, number)
    session.connection().execute(_FAILED, {"of_trial": trial_id})
    why = {
        "trial_id": trial_id,
        "reason": _storable(failure.reason),
        "detail": _storable(failure.detail),
        "traceback": _storable(failure.traceback),
        "created": now(),
    }
    insert_rows(session, FailureRow, [why])


def _pending(session: Session, study: str, number: int) -> tuple[int, int]:
    """The ids of a study and of its trial, which may still be settled; raises BadInput."""
    study_id, trial_id, state = _find(session, study, number)
    if trial_id is None:
        raise BadInput(f"study {study!r} has no trial {number}: propose it first.")
    if state != "pending":
        raise BadInput(f"trial {number} of study {study!r} is {state} already.")
    return study_id, trial_id


def _find(session: Session, study: str, number: int) -> tuple[int, int | None, str | None]:
    """The ids of a study and of its trial, and the trial's state: see `_TRIAL`."""
    asked = {"of_study": study, "of_number": number}
    found = session.connection().execute(_TRIAL, asked).one_or_none()
    if found is None:
        return study_row(session, study).id, None, None  # says which studies there are
    study_id, trial_id, state = found
    return study_id, trial_id, state


def _storable(text: str) -> str:
    """Text without what a database refuses: NUL and halves of surrogate pairs, shown escaped."""
    return text.replace("\0", "\\0").encode("utf-8", "backslashreplace").decode()
