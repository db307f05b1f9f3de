"""The hypervolume over time against the volume of every beginning of the study."""

from __future__ import annotations

import dataclasses
import math
import random
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import create_engine
from sqlalchemy.orm import Session

from paretoken.cache.clock import stamp
from paretoken.cache.front import hypervolume
from paretoken.cache.history import history
from paretoken.cache.points import place
from paretoken.cache.schema import (
    CandidateRow,
    ClassRow,
    EnvironmentRow,
    MeanRow,
    MeasurementRow,
    Row,
    StudyRow,
    TrialRow,
)
from paretoken.spaces.errors import BadInput, BadValue
from paretoken.spaces.objectives import Objective
from paretoken.spaces.records import Quantity

SPEED = Objective("images_per_s", "images/s", higher=True, doc="")
FID = Objective("fid", "", higher=False, doc="")
REFERENCE = {"images_per_s": 0.5, "fid": 5.5}


def at(second: int) -> str:
    """A moment of some night."""
    return stamp(datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=second))


@pytest.fixture
def session(url: str) -> Iterator[Session]:
    engine = create_engine(url)
    Row.metadata.create_all(engine)
    with Session(engine) as session:
        session.add(EnvironmentRow(id=1, device="", software="", commit=""))
        session.flush()
        yield session
    engine.dispose()


def new_study(session: Session, *wanted: Objective) -> int:
    row = StudyRow(
        name="s", workload="", algorithm="", seed=0, space={}, options={}, created=at(5),
        objectives=[dataclasses.asdict(objective) for objective in wanted],
    )  # fmt: skip
    session.add(row)
    session.flush()
    return row.id


def new_class(session: Session, aspect: str, name: str, mean: float) -> int:
    row = ClassRow(
        aspect=aspect, key=f"{aspect} {random.random()}", device="", software="", split=0,
        count=1, fresh=0, seconds=1.0,
    )  # fmt: skip
    session.add(row)
    session.flush()
    session.add(
        MeanRow(
            class_id=row.id, name=name, count=1, mean=mean, squares=0.0, variance=0.0, samples=1,
            unit="", higher=True, comparable="", detail={},
        )
    )  # fmt: skip
    session.flush()
    return row.id


def observe(session: Session, candidate: str, class_id: int, created: str) -> None:
    if session.get(CandidateRow, candidate) is None:
        session.add(CandidateRow(id=candidate, json="{}"))
        session.flush()
    session.add(
        MeasurementRow(
            candidate_id=candidate, environment_id=1, class_id=class_id, aspect="", key="", work="",
            tokens="", trace="", fresh=False, seed=0, seconds=1.0, detail={}, created=created,
        )
    )  # fmt: skip
    session.flush()


def finish(
    session: Session, study: int, number: int, candidate: str, classes: tuple[int, int] | None
) -> None:
    if session.get(CandidateRow, candidate) is None:
        session.add(CandidateRow(id=candidate, json="{}"))
        session.flush()
    row = TrialRow(
        study_id=study, number=number, candidate_id=candidate, numbers=[], origins={},
        state="done" if classes else "failed",
        quality_id=classes and classes[0], speed_id=classes and classes[1],
    )  # fmt: skip
    session.add(row)
    if classes:
        session.flush()
        place(session, study, {number: row.id})


@dataclasses.dataclass(frozen=True)
class Measured:
    quantities: dict[str, Quantity]


@pytest.mark.parametrize("seed", range(4))
def test_every_beginning_has_the_volume_of_its_trials(session: Session, seed: int) -> None:
    draw = random.Random(seed)
    study = new_study(session, SPEED, FID)
    values: dict[int, tuple[float, float]] = {}
    for number in draw.sample(range(40), 40):  # in whatever order they finish
        if number % 7 == 3:
            finish(session, study, number, f"c{number}", None)
            continue
        # Beyond the reference as well, and on a coarse grid: ties and equal places.
        speed, fid = draw.randint(0, 12) / 2, draw.randint(0, 12) / 2
        values[number] = speed, fid
        classes = (
            new_class(session, "quality", "fid", fid),
            new_class(session, "speed", "images_per_s", speed),
        )
        finish(session, study, number, f"c{number}", classes)
    moments = history(session, study, REFERENCE)
    assert [moment.number for moment in moments] == sorted(values)
    for moment in moments:
        begun = [
            Measured({"images_per_s": Quantity("", speed, 0, 1), "fid": Quantity("", fid, 0, 1)})
            for number, (speed, fid) in values.items()
            if number <= moment.number
        ]
        expected = hypervolume(begun, (SPEED, FID), REFERENCE)
        assert moment.volume == pytest.approx(expected, abs=1e-9)
    volumes = [moment.volume for moment in moments]
    assert len(set(volumes)) > 3 and volumes == sorted(volumes)
    assert {moment.time for moment in moments} == {at(5)}  # nothing observed: the study's begin


def test_times_are_of_first_observations_and_never_run_back(session: Session) -> None:
    study = new_study(session, SPEED, FID)
    fid = new_class(session, "quality", "fid", 1.0)
    speeds = [new_class(session, "speed", "images_per_s", 1.0 + n) for n in range(4)]
    observe(session, "plain", fid, at(10))
    observe(session, "plain", speeds[0], at(11))
    observe(session, "plain", speeds[0], at(90))  # measured again
    observe(session, "b", speeds[1], at(20))  # its quality is another's
    observe(session, "c", speeds[2], at(15))  # measured before b, finished after it
    observe(session, "other study", speeds[3], at(1))
    for number, name in enumerate(["plain", "b", "c", "d"]):
        finish(session, study, number, name, (fid, speeds[number]))
    moments = history(session, study, REFERENCE)
    assert [moment.time for moment in moments] == [at(11), at(20), at(20), at(20)]
    assert [moment.volume for moment in moments] == pytest.approx([2.25, 6.75, 11.25, 15.75])
    assert [moment.places for moment in moments] == [1, 1, 1, 1]
    assert [moment.seconds for moment in moments] == [6, 15, 15, 15]  # it began at 5
    # By 11 plain was measured twice, at 15 c, at 20 b; nothing later, and nothing of others.
    assert [moment.evaluations for moment in moments] == [2, 4, 4, 4]
    assert [moment.measuring_s for moment in moments] == [2.0, 4.0, 4.0, 4.0]


def test_before_plain_decoding_nothing_has_a_volume(session: Session) -> None:
    study = new_study(session, SPEED, FID)
    assert history(session, study, REFERENCE) == []
    classes = (
        new_class(session, "quality", "fid", 1.0),
        new_class(session, "speed", "images_per_s", 1.0),
    )
    finish(session, study, 1, "early", classes)
    assert [moment.volume for moment in history(session, study, REFERENCE)] == [0.0]
    finish(session, study, 0, "plain", classes)
    assert [moment.volume for moment in history(session, study, REFERENCE)] == [2.25, 2.25]


def test_a_history_needs_two_objectives_and_a_reference(session: Session) -> None:
    study = new_study(session, SPEED, FID)
    for reference in ({"fid": 1.0}, {"fid": 1.0, "images_per_s": math.inf}):
        with pytest.raises(BadValue, match="'images_per_s'"):
            history(session, study, reference)
    session.query(StudyRow).update({"objectives": [dataclasses.asdict(FID)]})
    session.expire_all()
    with pytest.raises(BadInput, match="two objectives"):
        history(session, study, REFERENCE)
