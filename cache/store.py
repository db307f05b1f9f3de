"""The store: what searches asked, proposed and observed. Every change is one transaction.

A measurement is committed the moment it is observed, before the trial that wanted it is finished:
whatever happens next, it can be recalled.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from types import TracebackType

from sqlalchemy import select
from sqlalchemy.orm import Session

from paretoken.cache.address import Address
from paretoken.cache.connection import Database
from paretoken.cache.fingerprint import candidate_id as digest_of
from paretoken.cache.observations import (
    check_aspect,
    insert_if_new,
    insert_measurement,
    now,
    read_measurements,
)
from paretoken.cache.schema import (
    CandidateRow,
    EnvironmentRow,
    FailureRow,
    MeasurementRow,
    StudyRow,
    TrialRow,
)
from paretoken.cache.studies import (
    all_studies,
    insert_study,
    study_info,
    study_objectives,
    study_row,
)
from paretoken.cache.trials import read_trials
from paretoken.spaces.errors import BadInput, BadValue
from paretoken.spaces.records import Environment, Failure, Measurement, StudyInfo, Trial
from paretoken.spaces.settings import Tree, dumps, loads

_LISTED = 5  # candidates named where a prefix fits several


class Store:
    """Studies, trials and measurements in one SQL database; close it, or use it in a `with`.

    Several processes may use one store; a Store itself stays in the process that opened it.
    Every method raises Unreadable where the database fails, and then has changed nothing.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    @classmethod
    def open(cls, url: str, create: bool = True) -> Store:
        """Open the store at `url` and bring it to the newest schema.

        create: make it where there is none; otherwise (for readers) that is Unreadable.
        """
        return cls(Database(Address.parse(url), create))

    def __enter__(self) -> Store:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the database."""
        self._database.close()

    def create_study(self, info: StudyInfo) -> None:
        """Add a study; raises BadInput where the name is taken or unfit. No `created` means now."""
        with self._database.writing() as session:
            insert_study(session, info)

    def study(self, name: str) -> StudyInfo:
        """What a study was started with; raises UnknownName, with the known ones."""
        with self._database.reading() as session:
            return study_info(study_row(session, name))

    def studies(self) -> list[tuple[StudyInfo, dict[str, int]]]:
        """All studies in the order they were made, with how many trials are "done", … ."""
        with self._database.reading() as session:
            return all_studies(session)

    def propose(self, study: str, number: int, tree: Tree, numbers: Sequence[float]) -> str:
        """Add a pending trial, and its candidate where that is new; returns the candidate's id.

        numbers: the algorithm's decision values. Raises BadInput where the number is taken.
        """
        digest = digest_of(tree)
        with self._database.writing() as session:
            study_id = study_row(session, study).id
            taken = TrialRow.study_id == study_id, TrialRow.number == number
            if session.scalar(select(TrialRow.id).where(*taken)) is not None:
                raise BadInput(
                    f"study {study!r} has a trial {number} already: "
                    "another process is running this study."
                )
            insert_if_new(session, CandidateRow, id=digest, json=dumps(tree))
            session.add(
                TrialRow(
                    study_id=study_id,
                    number=number,
                    candidate_id=digest,
                    numbers=list(numbers),
                    state="pending",
                    origins={},
                )
            )
        return digest

    def observe(self, candidate_id: str, measurement: Measurement) -> int:
        """Store one measurement of a proposed candidate at once; returns its id.

        Raises MeasurementFailed for a quantity that is NaN or infinite, and BadInput for a
        candidate that nobody proposed.
        """
        with self._database.writing() as session:
            if session.get(CandidateRow, candidate_id) is None:
                raise BadInput(f"no candidate {candidate_id!r} is stored: propose it first.")
            return insert_measurement(session, candidate_id, measurement)

    def recall(
        self, aspect: str, key: str, environment: Environment | None
    ) -> tuple[int, Measurement] | None:
        """The newest measurement with that key and its id, or None.

        A speed counts only where device and software are those of `environment`; a quality
        counts wherever it was measured.
        """
        where = [MeasurementRow.aspect == check_aspect(aspect), MeasurementRow.key == key]
        if aspect == "speed":
            if environment is None:
                raise BadInput("a speed is recalled for one environment: name it.")
            where.append(EnvironmentRow.device == environment.device)
            where.append(EnvironmentRow.software == environment.software)
        with self._database.reading() as session:
            return next(iter(read_measurements(session, *where, newest=1)), None)

    def finish(
        self,
        study: str,
        number: int,
        quality_id: int | None,
        speed_id: int | None,
        origin: Mapping[str, str],
    ) -> None:
        """A pending trial is done, and these measurements are its values.

        origin: for "quality" and "speed", whether it was "measured" or "reused".
        """
        with self._database.writing() as session:
            trial = _pending(session, study, number)
            trial.state = "done"
            trial.quality_id, trial.speed_id, trial.origins = quality_id, speed_id, dict(origin)

    def fail(self, study: str, number: int, failure: Failure) -> None:
        """A pending trial has failed, and this is why."""
        with self._database.writing() as session:
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

    def trials(self, study: str) -> list[Trial]:
        """All trials in number order, with `speedup` over trial 0 among their quantities."""
        with self._database.reading() as session:
            row = study_row(session, study)
            return read_trials(session, row.id, study_objectives(row))

    def candidate(self, prefix: str) -> tuple[str, Tree, list[tuple[str, int]]]:
        """The id, the settings and the trials (study, number) of the one candidate so begun."""
        if not re.fullmatch("[0-9a-f]{1,32}", prefix.lower()):
            raise BadValue(f"a candidate's id is hexadecimal digits, at most 32, not {prefix!r}.")
        first = prefix.lower()
        with self._database.reading() as session:
            found = session.scalars(
                select(CandidateRow)
                .where(CandidateRow.id >= first, CandidateRow.id < first + "g")
                .order_by(CandidateRow.id)
                .limit(_LISTED + 1)
            ).all()
            if not found:
                raise BadInput(
                    f"no candidate's id begins with {prefix!r}: `paretoken front` shows the ids."
                )
            if len(found) > 1:
                ids = ", ".join(row.id for row in found[:_LISTED])
                more = ", …" if len(found) > _LISTED else ""
                raise BadInput(f"several candidates begin with {prefix!r}: {ids}{more}.")
            (row,) = found
            trials = session.execute(
                select(StudyRow.name, TrialRow.number)
                .join(StudyRow, TrialRow.study_id == StudyRow.id)
                .where(TrialRow.candidate_id == row.id)
                .order_by(StudyRow.id, TrialRow.number)
            )
            return row.id, loads(row.json), [(name, number) for name, number in trials]

    def measurements(self, candidate_id: str) -> list[Measurement]:
        """Every measurement of a candidate, in the order they were made."""
        with self._database.reading() as session:
            found = read_measurements(session, MeasurementRow.candidate_id == candidate_id)
        return [measurement for _, measurement in found]


def _pending(session: Session, study: str, number: int) -> TrialRow:
    """The row of a trial that may still be settled, locked; raises BadInput."""
    trial = session.scalar(
        select(TrialRow)
        .join(StudyRow, TrialRow.study_id == StudyRow.id)
        .where(StudyRow.name == study, TrialRow.number == number)
        .with_for_update(of=TrialRow)
    )
    if trial is None:
        raise BadInput(f"study {study!r} has no trial {number}: propose it first.")
    if trial.state != "pending":
        raise BadInput(f"trial {number} of study {study!r} is {trial.state} already.")
    return trial


def _storable(text: str) -> str:
    """Text without what a database refuses: NUL and halves of surrogate pairs, shown escaped."""
    return text.replace("\0", "\\0").encode("utf-8", "backslashreplace").decode()
