"""The store: what searches asked, proposed and observed. Every change is one transaction.

A measurement is committed the moment it is observed, before the trial that wanted it is finished:
whatever happens next, it can be found. The modules beside this one hold one idea each.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from types import TracebackType

from sqlalchemy import func, select

from paretoken.cache import candidates, classes, identities, leases, proposals, ranking, staircase
from paretoken.cache.address import Address
from paretoken.cache.clock import now, utc
from paretoken.cache.condition import Condition
from paretoken.cache.connection import Database
from paretoken.cache.devices import count_devices
from paretoken.cache.disagreements import read_disagreements
from paretoken.cache.front import pareto_front
from paretoken.cache.history import Moment, end_times, history
from paretoken.cache.observations import read_measurements
from paretoken.cache.overview import Merged, merged, revision
from paretoken.cache.pooling import record
from paretoken.cache.rows import number_names
from paretoken.cache.rungs import beaten
from paretoken.cache.schema import ExportRow, MeasurementRow, TrialRow
from paretoken.cache.settings_json import KnownSettings, read_known_settings
from paretoken.cache.studies import (
    all_studies,
    find_study,
    insert_study,
    study_info,
    study_row,
)
from paretoken.cache.trials import read_trials
from paretoken.spaces.objectives import Objective
from paretoken.spaces.records import (
    BehaviourClass,
    Disagreement,
    Environment,
    Failure,
    Fingerprint,
    Keys,
    Measurement,
    StudyInfo,
    Trial,
)
from paretoken.spaces.settings import Tree


class Store:
    """Studies, trials and measurements in one SQL database; close it, or use it in a `with`.

    Several processes may use one store. A Store itself stays in the process that opened it, where
    any number of threads may share it.
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

    def beside(self, what: str) -> Path | None:
        """Where files that belong to the store lie: FILE.what; None on a server."""
        address = self._database.address
        if not address.is_sqlite:
            return None
        return address.path.resolve().with_suffix(f".{what}")

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
        with self._database.writing() as session:
            return proposals.propose(session, study, number, tree, numbers)

    def observe(
        self, candidate_id: str, measurement: Measurement
    ) -> tuple[BehaviourClass, Disagreement | None]:
        """Store one measurement of a proposed candidate at once; returns the class it counts in.

        The disagreement: where noise does not explain how far it lies from that class, or from the
        one it was split off from. Raises MeasurementFailed for a quantity that is NaN or infinite,
        and BadInput for a candidate that nobody proposed.
        """
        with self._database.writing() as session:
            ((class_id, disagreement),) = record(session, [(candidate_id, measurement)])
            return classes.read_class(session, class_id), disagreement

    def observe_many(self, observations: Sequence[tuple[str, Measurement]]) -> list[int]:
        """Store measurements, each with its candidate, all or none; returns the classes' ids.

        The same as `observe` on each in this order, some ten times as fast.
        """
        with self._database.writing() as session:
            return [class_id for class_id, _ in record(session, observations)]

    def find(
        self,
        aspect: str,
        environment: Environment | None,
        candidate_id: str,
        *,
        key: str = "",
        work: str = "",
        tokens: str = "",
    ) -> BehaviourClass | None:
        """The class that answers for a candidate, by exactly one of key, work and tokens, or None.

        A speed counts only where device and software are those of `environment`; a quality counts
        wherever it was measured. A candidate that was split off finds its own part.
        """
        with self._database.reading() as session:
            class_id = classes.find_class(
                session, aspect, environment, candidate_id, key=key, work=work, tokens=tokens
            )
            return None if class_id is None else classes.read_class(session, class_id)

    def observations(
        self, aspect: str, environment: Environment | None, *, key: str = "", work: str = ""
    ) -> int:
        """How many observations were ever made under a key, or of predicted work."""
        with self._database.reading() as session:
            return classes.count_observations(session, aspect, environment, key=key, work=work)

    def identify(self, candidate_id: str, fingerprint: Fingerprint) -> Keys:
        """The names of the classes that a proposed candidate belongs to, by what it does."""
        with self._database.writing() as session:
            return identities.identify(session, candidate_id, fingerprint)

    def fingerprints(self, candidate_id: str) -> list[tuple[Fingerprint, Keys]]:
        """What a candidate was found to do, for each model and precision, oldest first."""
        with self._database.reading() as session:
            return identities.read_fingerprints(session, candidate_id)

    def recording(self, context: str) -> bytes | None:
        """The rows that were recorded from a model, None where nobody has yet."""
        with self._database.reading() as session:
            return identities.read_recording(session, context)

    def keep_recording(self, context: str, data: bytes) -> bytes:
        """Store recorded rows unless somebody was first; returns what is stored."""
        with self._database.writing() as session:
            return identities.keep_recording(session, context, data)

    def finish(
        self,
        study: str,
        number: int,
        quality_class_id: int | None,
        speed_class_id: int | None,
        origin: Mapping[str, str],
    ) -> None:
        """A pending trial is done, and the means of these classes are its values.

        origin: for "quality" and "speed", where the answer came from: see `records.Trial`.
        """
        with self._database.writing() as session:
            proposals.finish(session, study, number, quality_class_id, speed_class_id, origin)

    def reach(
        self,
        study: str,
        number: int,
        samples: int,
        quality_class_id: int,
        speed_class_id: int,
        origin: Mapping[str, str],
    ) -> None:
        """A pending trial was measured at a rung of so many samples; origin: as in `finish`."""
        with self._database.writing() as session:
            proposals.reach(
                session, study, number, samples, quality_class_id, speed_class_id, origin
            )

    def beaten(self, study: str, number: int, samples: int) -> bool:
        """Whether, by what a trial showed at a rung, more samples would not bring it to the front.

        That is: another candidate is better in every objective at the same rung, beyond noise.
        """
        with self._database.reading() as session:
            study_id, objectives = find_study(session, study)
            return beaten(session, study_id, number, samples, objectives)

    def stop(self, study: str, number: int) -> None:
        """A pending trial is measured no further than at its last rung."""
        with self._database.writing() as session:
            proposals.stop(session, study, number)

    def fail(self, study: str, number: int, failure: Failure) -> None:
        """A pending trial has failed, and this is why."""
        with self._database.writing() as session:
            proposals.fail(session, study, number, failure)

    def lease(self, key: str, owner: str, seconds: float, clock: leases.Clock = utc) -> bool:
        """Whether `owner` may now do the work called `key`, for so long unless renewed.

        False while another owner's lease lives, and once the work is done.
        """
        with self._database.writing() as session:
            return leases.take(session, key, owner, seconds, clock)

    def holder(self, key: str) -> str | None:
        """Who has the work called `key` leased, None where nobody has."""
        with self._database.reading() as session:
            return leases.holder(session, key)

    def renew(self, owner: str, seconds: float, clock: leases.Clock = utc) -> int:
        """The heartbeat: all live leases of `owner` end so long from now; returns how many."""
        with self._database.writing() as session:
            return leases.extend(session, owner, seconds, clock)

    def release(self, key: str, owner: str, state: str) -> None:
        """The work of `owner` is "done", or has "failed" and may be leased again."""
        with self._database.writing() as session:
            leases.settle(session, key, owner, state)

    def trials(self, study: str, numbers: Collection[int] | None = None) -> list[Trial]:
        """All trials in number order, with `speedup` over trial 0 among their quantities.

        numbers: only these; without 0 among them no speed-up is known.
        """
        with self._database.reading() as session:
            return read_trials(session, *find_study(session, study), numbers)

    def front(
        self, study: str, condition: Condition | None = None, device: str = ""
    ) -> list[Trial]:
        """The trials on the study's front, the best in the first objective first.

        With up to two objectives they are kept right with every measurement, and only read. With a
        condition, or for another device (see `best`), it is the front of those that fit, found
        inside the database.
        """
        with self._database.reading() as session:
            study_id, objectives = find_study(session, study)
            if condition is not None or device:
                fitting = ranking.front(session, study_id, objectives, condition, device)
                known = read_trials(session, study_id, objectives, {0, *fitting})
                return pareto_front([t for t in known if t.number in fitting], objectives)
            if len(objectives) > 2:
                done = (t for t in read_trials(session, study_id, objectives) if t.state == "done")
                return pareto_front({t.candidate_id: t for t in done}.values(), objectives)
            numbers = [place.number for place in staircase.front(session, study_id)]
            read = {t.number: t for t in read_trials(session, study_id, objectives, {0, *numbers})}
            return [read[number] for number in numbers]

    def best(
        self,
        study: str,
        objective: Objective,
        condition: Condition | None = None,
        device: str = "",
    ) -> Trial | None:
        """The best trial that fits a condition, found inside the database.

        device: another kind than plain decoding was timed on, whose candidates are asked instead.
        """
        with self._database.reading() as session:
            study_id, objectives = find_study(session, study)
            number = ranking.best(session, study_id, objective, condition, device)
            if number is None:
                return None
            read = read_trials(session, study_id, objectives, {0, number})
            return next(trial for trial in read if trial.number == number)

    def matching(self, study: str, condition: Condition | None, device: str = "") -> list[int]:
        """The numbers of the trials that fit, found inside the database. device: as in `best`."""
        with self._database.reading() as session:
            return ranking.matching(session, study_row(session, study).id, condition, device)

    def nearest(self, study: str, condition: Condition, device: str = "") -> ranking.Near | None:
        """The trial that comes nearest to fitting, found inside the database."""
        with self._database.reading() as session:
            return ranking.nearest(session, study_row(session, study).id, condition, device)

    def numbers(self, study: str) -> list[str]:
        """What the trials of a study have numbers of, by name; none before trial 0 is finished."""
        with self._database.reading() as session:
            return number_names(session, study_row(session, study).id)

    def settings(self, study: str) -> KnownSettings:
        """What the finished candidates of a study have set; every candidate is read for that."""
        with self._database.reading() as session:
            return read_known_settings(session, study_row(session, study).id)

    def history(self, study: str, reference: Mapping[str, float]) -> list[Moment]:
        """The hypervolume of the study's front after each of its trials."""
        with self._database.reading() as session:
            return history(session, study_row(session, study).id, reference)

    def end_times(self, study: str) -> dict[int, str]:
        """When each trial that ended did, by number: its last own observation, or its failure."""
        with self._database.reading() as session:
            return end_times(session, study_row(session, study).id)

    def merged(self, study: str) -> list[Merged]:
        """The classes of a study's trials and whom each answers for, the largest first."""
        with self._database.reading() as session:
            return merged(session, study_row(session, study).id)

    def revision(self, study: str) -> str:
        """A short text that changes with every trial and measurement: see `overview.revision`."""
        with self._database.reading() as session:
            return revision(session, study_row(session, study).id)

    def size(self, study: str) -> int:
        """How many trials a study has."""
        with self._database.reading() as session:
            in_study = TrialRow.study_id == study_row(session, study).id
            return session.scalars(select(func.count()).where(in_study)).one()

    def devices(self, study: str) -> dict[str, int]:
        """How many finished trials of a study were timed on each device; the most first."""
        with self._database.reading() as session:
            return count_devices(session, study_row(session, study).id)

    def disagreements(self, study: str) -> list[Disagreement]:
        """What noise did not explain about a study's candidates and their classes, oldest first."""
        with self._database.reading() as session:
            return read_disagreements(session, study_row(session, study).id)

    def candidate(self, prefix: str) -> tuple[str, Tree, list[tuple[str, int]]]:
        """The id, the settings and the trials (study, number) of the one candidate so begun."""
        with self._database.reading() as session:
            return candidates.find_candidate(session, prefix)

    def measurements(self, candidate_id: str) -> list[Measurement]:
        """Every measurement of a candidate, in the order they were made."""
        with self._database.reading() as session:
            return read_measurements(session, MeasurementRow.candidate_id == candidate_id)

    def measurements_of(self, class_id: int) -> list[Measurement]:
        """Every measurement that belongs to a class, oldest first."""
        with self._database.reading() as session:
            return read_measurements(session, MeasurementRow.class_id == class_id)

    def classes(self, study: str, number: int) -> dict[str, BehaviourClass]:
        """The classes that a trial's numbers are the means of, by aspect: "quality", "speed"."""
        with self._database.reading() as session:
            wanted = select(TrialRow.quality_id, TrialRow.speed_id).where(
                TrialRow.study_id == study_row(session, study).id, TrialRow.number == number
            )
            ids = [class_id for row in session.execute(wanted) for class_id in row]
            read = (classes.read_class(session, each) for each in ids if each is not None)
            return {found.aspect: found for found in read}

    def record_export(self, study: str, candidate_id: str, target: str, file: str) -> None:
        """Note that a candidate's settings were handed out: to which target, in which file."""
        with self._database.writing() as session:
            session.add(
                ExportRow(
                    study_id=study_row(session, study).id,
                    candidate_id=candidate_id,
                    target=target,
                    file=file,
                    created=now(),
                )
            )
