"""The front that is kept in the database, and the best under a condition, against brute force."""

from __future__ import annotations

import dataclasses
import itertools
import math
import random
import threading
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass, field

import moocore
import pytest
from sqlalchemy import select, update
from sqlalchemy.orm import Session

from paretoken.cache import numbers, points, staircase
from paretoken.cache.address import Address
from paretoken.cache.condition import SIGNS, Compare, Number, every
from paretoken.cache.connection import Database
from paretoken.cache.front import pareto_front
from paretoken.cache.ranking import best
from paretoken.cache.schema import (
    CandidateRow,
    ClassRow,
    FrontRow,
    MeanRow,
    PointRow,
    StudyRow,
    TrialRow,
)
from paretoken.cache.staircase import front as stored_front
from paretoken.cache.staircase import recomputed_front
from paretoken.spaces.objectives import Objective
from paretoken.spaces.records import Quantity

FID = Objective("fid", "", higher=False, doc="")
ISC = Objective("isc", "", higher=True, doc="")
SPEED = Objective("images_per_s", "images/s", higher=True, doc="")
MEMORY = Objective("memory", "GiB", higher=False, doc="")
NAMES = {"quality": ("fid", "isc"), "speed": ("images_per_s", "memory")}
WANTED = ((FID, SPEED), (SPEED, FID, MEMORY), (ISC, MEMORY), (FID, ISC), (MEMORY, SPEED), (FID,))


@dataclass
class Class:
    aspect: str
    device: str
    numbers: dict[str, tuple[float, str]]


@dataclass
class Trial:
    number: int
    candidate: str
    quality: int | None
    speed: int | None


@dataclass(frozen=True)
class Measured:
    quantities: Mapping[str, Quantity]


@dataclass
class Study:
    id: int
    objectives: tuple[Objective, ...]
    order: list[int]  # in which its trials finish
    finished: list[Trial] = field(default_factory=list)


class World:
    """Studies that share classes, in a database and beside it."""

    def __init__(self, url: str, draw: random.Random) -> None:
        self.draw = draw
        self.address = Address.parse(url)
        self.databases: dict[int, Database] = {}  # one a thread: they stand for processes
        self.classes: dict[int, Class] = {}
        self.names = itertools.count()
        with self.session() as session:
            self.studies = [self._study(session, wanted) for wanted in draw.choices(WANTED, k=3)]

    @contextmanager
    def session(self) -> Iterator[Session]:
        thread = threading.get_ident()
        if thread not in self.databases:
            self.databases[thread] = Database(self.address, create=True)
        with self.databases[thread].writing() as session:
            yield session

    def close(self) -> None:
        for database in self.databases.values():
            database.close()

    def name(self) -> str:
        return f"{self.draw.getrandbits(64):016x}{next(self.names):016x}"

    def _study(self, session: Session, wanted: tuple[Objective, ...]) -> Study:
        row = StudyRow(
            name=self.name(), workload="", algorithm="", seed=0, space={}, options={}, created="",
            objectives=[dataclasses.asdict(objective) for objective in wanted],
        )  # fmt: skip
        session.add(row)
        session.flush()
        return Study(row.id, wanted, self.draw.sample(range(4), 4) + list(range(4, 100)))

    def number(self) -> tuple[float, str]:
        return self.draw.randint(1, 6) / 2, "other" if self.draw.random() < 0.05 else ""

    def new_class(self, session: Session, aspect: str, *, plain: bool = False) -> int:
        device = "other" if aspect == "speed" and self.draw.random() < 0.1 else ""
        made = Class(aspect, "" if plain else device, {})
        key = self.name()
        row = ClassRow(
            aspect=aspect, key=key, device=made.device, software="", split=0, count=1, fresh=0,
            seconds=1.0,
        )  # fmt: skip
        session.add(row)
        session.flush()
        self.classes[row.id] = made
        for name in NAMES[aspect]:
            if plain or self.draw.random() < 0.95:
                made.numbers[name] = (self.number()[0], "") if plain else self.number()
        self._store(session, row.id)
        return row.id

    def _store(self, session: Session, class_id: int) -> None:
        session.query(MeanRow).where(MeanRow.class_id == class_id).delete()
        for name, (mean, comparable) in self.classes[class_id].numbers.items():
            session.add(
                MeanRow(
                    class_id=class_id, name=name, count=1, mean=mean, squares=0.0, variance=0.0,
                    samples=1, unit="", higher=True, comparable=comparable, detail={},
                )
            )  # fmt: skip
        session.flush()

    def some_class(self, session: Session, aspect: str) -> int:
        known = [i for i, made in self.classes.items() if made.aspect == aspect]
        if known and self.draw.random() < 0.5:
            return self.draw.choice(known)
        return self.new_class(session, aspect)

    def finish(self, study: Study, number: int, candidate: str, ids: tuple[int, int]) -> None:
        trial = Trial(number, candidate, *ids)
        with self.session() as session:
            if session.get(CandidateRow, candidate) is None:
                session.add(CandidateRow(id=candidate, json="{}"))
            row = TrialRow(
                study_id=study.id, number=number, candidate_id=candidate, numbers=[], origins={},
                state="done", quality_id=trial.quality, speed_id=trial.speed,
            )  # fmt: skip
            session.add(row)
            session.flush()
            points.place(session, row.study_id, {row.number: row.id})
        study.finished.append(trial)

    def finish_some(self, study: Study, number: int) -> None:
        if number > 4 and self.draw.random() < 0.1:  # proposed before, and finished since
            twin = self.draw.choice(study.finished)
            assert twin.quality is not None and twin.speed is not None
            self.finish(study, number, twin.candidate, (twin.quality, twin.speed))
            return
        with self.session() as session:
            ids = [
                self.new_class(session, aspect, plain=True)
                if number == 0
                else self.some_class(session, aspect)
                for aspect in NAMES
            ]
        self.finish(study, number, self.name(), (ids[0], ids[1]))

    def move(self, class_id: int) -> None:
        """New means; now and then one is lost, or found again, or under other conditions."""
        moving = self.classes[class_id]
        is_plain = any(
            class_id in (trial.quality, trial.speed)
            for study in self.studies
            for trial in study.finished
            if trial.number == 0
        )
        for name in NAMES[moving.aspect]:
            lost = moving.numbers.pop(name, None)
            if self.draw.random() < 0.95:
                value, comparable = self.number()
                same = is_plain or self.draw.random() < 0.9
                moving.numbers[name] = (value, lost[1] if lost and same else comparable)
                if is_plain:
                    moving.numbers[name] = (value, "")
        with self.session() as session:
            self._store(session, class_id)
            points.moved(session, class_id)

    def numbers(self, study: Study, trial: Trial) -> dict[str, float]:
        """A trial's numbers that compare with those of trial 0, or that trial 0 does not have."""
        plain = next((other for other in study.finished if other.number == 0), None)
        found: dict[str, float] = {}
        if plain is None:
            return found
        for aspect in NAMES:
            own = self.classes[getattr(trial, aspect)]
            other = self.classes[getattr(plain, aspect)]
            for name, (value, comparable) in own.numbers.items():
                reference = other.numbers.get(name)
                if reference is None or (comparable, own.device) == (reference[1], other.device):
                    found[name] = value
        return found

    def places(self, study: Study) -> dict[str, tuple[float, ...]]:
        """Where every candidate's point belongs."""
        first, found = study.objectives[:2], {}
        plain = next((trial for trial in study.finished if trial.number == 0), None)
        if plain is None or any(o.name not in self.numbers(study, plain) for o in first):
            return {}
        for trial in study.finished:
            numbers = self.numbers(study, trial)
            if all(objective.name in numbers for objective in first):
                x, y = first[0], first[-1]  # a single objective is on both axes
                found[trial.candidate] = (x.loss(numbers[x.name]), y.loss(numbers[y.name]))
        return found

    def check(self, study: Study) -> int:
        """Compare the stored points with what three others say; returns how many there are."""
        with self.session() as session:
            rows = session.scalars(select(PointRow).where(PointRow.study_id == study.id)).all()
            who = {trial.number: trial.candidate for trial in study.finished}
            stored = {who[row.number]: (row.x, row.y) for row in rows}
            assert len(stored) == len(rows)
            front = select(FrontRow.number).where(FrontRow.study_id == study.id)
            flagged = {who[number] for number in session.scalars(front)}
            kept = numbers.read_numbers(session, study.id)
            for row in rows:
                self.check_columns(study, row, kept)
            shown = stored_front(session, study.id)
            assert shown == recomputed_front(session, study.id)
        expected = self.places(study)
        assert stored == expected
        assert flagged == {
            name
            for name, at in expected.items()
            if not any(dominates(other, at) for other in expected.values())
        }
        assert {who[point.number] for point in shown} == flagged
        assert [(p.x, p.y) for p in shown] == sorted(expected[who[p.number]] for p in shown)
        if not expected:
            return 0
        stay = moocore.is_nondominated([list(at) for at in expected.values()], keep_weakly=True)
        assert flagged == {name for name, stays in zip(expected, stay, strict=True) if stays}
        measured = {name: as_measured(at, study.objectives) for name, at in expected.items()}
        front = pareto_front(measured.values(), study.objectives[:2])
        assert sorted(map(id, front)) == sorted(id(measured[name]) for name in flagged)
        return len(expected)

    def check_columns(self, study: Study, row: PointRow, kept: numbers.Numbers) -> None:
        """Compare the numbers beside a point with those of its trial."""
        trial = next(trial for trial in study.finished if trial.number == row.number)
        expected = self.numbers(study, trial)
        on_axes = {objective.name for objective in study.objectives[:2]}
        assert expected.keys() <= kept.terms.keys()
        for name, slot in kept.slots.items():
            assert name not in on_axes or slot is None
            if slot is not None:
                assert getattr(row, f"n{slot}") == expected.get(name), name


def dominates(one: tuple[float, ...], other: tuple[float, ...]) -> bool:
    return all(a <= b for a, b in zip(one, other, strict=True)) and one != other


def as_measured(at: tuple[float, ...], objectives: tuple[Objective, ...]) -> Measured:
    return Measured(
        {o.name: Quantity(o.name, o.loss(v), 0.0, 1) for o, v in zip(objectives, at, strict=False)}
    )


def best_by_hand(
    world: World, study: Study, objective: Objective, bounds: list[Compare]
) -> int | None:
    """The best trial that has a point."""
    plain = next((trial for trial in study.finished if trial.number == 0), None)
    if plain is None:
        return None
    base = world.numbers(study, plain).get("images_per_s")
    placed = world.places(study)
    ranked = []
    for trial in study.finished:
        numbers = world.numbers(study, trial)
        if base and "images_per_s" in numbers:
            numbers["speedup"] = numbers["images_per_s"] / base
        if trial.candidate not in placed:
            continue
        fits = all(
            str(bound.left) in numbers and SIGNS[bound.sign](numbers[str(bound.left)], bound.right)
            for bound in bounds
        )
        if fits and objective.name in numbers:
            ties = [
                o.loss(numbers[o.name]) if o.name in numbers else math.inf for o in study.objectives
            ]
            rank = (objective.loss(numbers[objective.name]), *ties, trial.number)
            ranked.append(rank)
    return int(min(ranked)[-1]) if ranked else None


def ask(world: World, study: Study) -> int | None:
    """Ask for a random best, and compare it with what is found by hand."""
    draw = world.draw
    names = ["fid", "isc", "images_per_s", "memory", "speedup"]
    objective = Objective(draw.choice(names), "", higher=draw.random() < 0.5, doc="")
    bounds = [
        Compare(Number(draw.choice(names)), draw.choice(list(SIGNS)), draw.randint(0, 8) / 3)
        if draw.random() < 0.5
        else Compare(Number(draw.choice(names)), draw.choice(list(SIGNS)), draw.randint(0, 7) / 2)
        for _ in range(draw.randint(0, 3))
    ]
    with world.session() as session:
        found = best(session, study.id, objective, every(*bounds))
    assert found == best_by_hand(world, study, objective, bounds), (study, objective, bounds)
    return found


def live(world: World, steps: int) -> int:
    """Random history: trials finish, in whatever order, and classes move; checked every time."""
    draw = world.draw
    checked = 0
    for _ in range(steps):
        if world.classes and draw.random() < 0.5:
            world.move(draw.choice(list(world.classes)))
        else:
            study = draw.choice(world.studies)
            world.finish_some(study, study.order[len(study.finished)])
        checked += sum(world.check(study) for study in world.studies)
    return checked


@pytest.mark.parametrize("seed", range(8))
def test_the_front_is_right_after_every_step(url: str, seed: int) -> None:
    world = World(url, random.Random(seed))
    assert live(world, 60) > 0
    world.close()


@pytest.mark.parametrize("slots", [0, 1, 24])
@pytest.mark.parametrize("seed", range(2))
def test_the_best_is_what_brute_force_finds(
    url: str, seed: int, slots: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(numbers, "SLOTS", slots)  # which column a number is in must not matter
    world = World(url, random.Random(seed))
    answers = []
    for _ in range(3):
        live(world, 20)
        answers += [ask(world, study) for study in world.studies for _ in range(30)]
    assert len(set(answers)) > 3
    world.close()


def observe(world: World, class_id: int, value: float) -> None:
    """Change a class's means, in its turn of the writers."""
    with world.session() as session:
        session.execute(
            update(ClassRow).where(ClassRow.id == class_id).values(count=ClassRow.count + 1)
        )
        for mean in session.scalars(select(MeanRow).where(MeanRow.class_id == class_id)).all():
            mean.mean = value
        points.moved(session, class_id)


@pytest.mark.slow
def test_a_mean_that_moves_while_a_trial_finishes_is_not_missed(postgres_url: str) -> None:
    world = World(postgres_url, random.Random(0))
    study = Study(world.studies[0].id, (FID, SPEED), [])
    with world.session() as session:
        row = session.get_one(StudyRow, study.id)
        row.objectives = [dataclasses.asdict(objective) for objective in study.objectives]
        ids = [world.new_class(session, aspect, plain=True) for aspect in NAMES]
    with ThreadPoolExecutor(1) as pool:
        with world.session() as session:
            session.add(CandidateRow(id="plain", json="{}"))
            session.flush()
            row = TrialRow(
                study_id=study.id, number=0, candidate_id="plain", numbers=[], origins={},
                state="done", quality_id=ids[0], speed_id=ids[1],
            )  # fmt: skip
            session.add(row)
            session.flush()
            points.place(session, row.study_id, {row.number: row.id})
            moving = pool.submit(observe, world, ids[0], 9.0)  # sees no trial of the class yet
            wait([moving], timeout=0.5)
        moving.result()
    study.finished.append(Trial(0, "plain", ids[0], ids[1]))
    world.classes[ids[0]].numbers = {name: (9.0, "") for name in NAMES["quality"]}
    assert world.check(study) == 1
    world.close()


@pytest.mark.slow
def test_writers_at_the_same_time_leave_the_front_right(postgres_url: str) -> None:
    world = World(postgres_url, random.Random(0))
    study = Study(world.studies[0].id, (FID, SPEED), [])
    fields = [dataclasses.asdict(objective) for objective in study.objectives]
    with world.session() as session:
        session.get_one(StudyRow, study.id).objectives = fields
        ids = {
            aspect: [world.new_class(session, aspect, plain=True) for _ in range(6)]
            for aspect in NAMES
        }
    world.finish(study, 0, world.name(), (ids["quality"][0], ids["speed"][0]))

    def write(writer: int) -> None:
        draw = random.Random(writer)
        for step in range(40):
            pair = draw.choice(ids["quality"]), draw.choice(ids["speed"])
            if draw.random() < 0.5:
                world.finish(study, 100 * writer + step, f"{writer} {step}", pair)
                continue
            observe(world, draw.choice(pair), draw.randint(1, 6) / 2)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(write, range(1, 5)))
    with world.session() as session:
        for mean in session.scalars(select(MeanRow)):
            world.classes[mean.class_id].numbers[mean.name] = (mean.mean, mean.comparable)
    assert world.check(study) == len(study.finished) > 40
    world.close()


@pytest.mark.parametrize(
    "broken",
    [(staircase, "repair"), (staircase, "enter"), (points, "_follow"), (points, "rebuild")],
)
def test_without_a_part_the_check_finds_wrong_points(
    sqlite_url: str, monkeypatch: pytest.MonkeyPatch, broken: tuple[object, str]
) -> None:
    monkeypatch.setattr(*broken, lambda *_: None)
    with pytest.raises(AssertionError):
        live(World(sqlite_url, random.Random(0)), 60)


def test_one_point_too_many_or_too_few_is_found(sqlite_url: str) -> None:
    world = World(sqlite_url, random.Random(0))
    live(world, 60)
    study = max(world.studies, key=lambda study: len(world.places(study)))
    assert world.check(study) > 5
    with world.session() as session:
        kept = session.scalars(select(FrontRow).where(FrontRow.study_id == study.id)).all()
        session.delete(kept[0])
    with pytest.raises(AssertionError):
        world.check(study)
