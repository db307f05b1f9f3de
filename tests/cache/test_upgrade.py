"""A store of an older schema opens with everything it had, or stays as it was."""

from __future__ import annotations

import itertools
import json
import os
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from alembic import command
from alembic.config import Config
from sqlalchemy import Connection, Engine, create_engine, event, inspect, select, text

import paretoken.cache.migrations
from paretoken.cache.condition import Compare, Number, every
from paretoken.cache.schema import VERSION_TABLE, FrontRow, PointRow
from paretoken.cache.store import Store
from paretoken.spaces.errors import Unreadable
from paretoken.spaces.objectives import Objective
from paretoken.spaces.records import Environment, Failure, Measurement, Quantity
from paretoken.spaces.settings import dumps

HERE = Environment("cpu", "torch 2", "abc")
LATER = Environment("cpu", "torch 2", "def")
THERE = Environment("cuda", "torch 2", "abc")
ENVIRONMENTS = (HERE, LATER, THERE)
FID = Objective("fid", "", higher=False, doc="distance")
RATE = Objective("images_per_s", "images/s", higher=True, doc="")
EXTRA = Objective("speed_extra", "GiB", higher=False, doc="")
CANDIDATES = [f"{number:032x}" for number in range(3)]
NUMBERS = itertools.count(1)


def measurement(aspect: str, key: str, value: float, place: Environment, seed: int) -> Measurement:
    name, higher = ("fid", False) if aspect == "quality" else ("images_per_s", True)
    found = (
        Quantity(name, value, value / 10, 5, "unit", higher, "N=1000", {"by": ["jackknife", seed]}),
        Quantity(f"{aspect}_extra", 1.25, 0.0, 1, "GiB", False),
    )
    return Measurement(aspect, key, found, place, seed, 1.5 + seed, {"transcript": "00ff"})


# Candidate and measurement, in the order they were made.
OBSERVED = [
    (0, measurement("quality", "q1", 40.0, HERE, 0)),
    (0, measurement("speed", "c1", 10.0, HERE, 1)),
    (1, measurement("quality", "q1", 41.0, THERE, 2)),
    (1, measurement("speed", "c1", 12.0, LATER, 3)),
    (1, measurement("speed", "c1", 99.0, THERE, 4)),
    (2, measurement("quality", "q2", 30.0, HERE, 5)),
    (2, measurement("speed", "c2", 25.0, HERE, 6)),
    (0, measurement("speed", "c1", 14.0, HERE, 7)),
]
# Number, candidate, state, ids of measurements (from 1) and origins.
TRIALS = [
    (0, 0, "done", 1, 2, {"quality": "measured", "speed": "measured"}),
    (1, 1, "done", 3, 4, {"quality": "measured", "speed": "reused"}),
    (2, 2, "done", 6, 7, {"quality": "reused", "speed": "measured"}),
    (3, 0, "failed", None, None, {}),
    (4, 1, "pending", None, None, {}),
]


def insert(connection: Connection, table: str, **values: object) -> None:
    names = ", ".join(f'"{name}"' for name in values)
    marks = ", ".join(f":{name}" for name in values)
    connection.execute(text(f"INSERT INTO {table} ({names}) VALUES ({marks})"), values)


def fill(connection: Connection, copies: int = 1) -> None:
    """The rows above; `copies` of every measurement, the further ones under other keys."""
    study = {
        "name": "first",
        "workload": "fashion",
        "algorithm": "nsga2",
        "seed": 2**62,
        "space": json.dumps({"z": 1, "a": [0.1]}),
        "objectives": json.dumps([vars(RATE), vars(FID)]),
        "options": "{}",
        "created": "2026-01-02T03:04:05.000000+00:00",
    }
    insert(connection, "studies", **study)
    insert(connection, "studies", **{**study, "name": "empty"})
    for number, candidate in enumerate(CANDIDATES):
        insert(connection, "candidates", id=candidate, json=dumps({"w": number}))
    for place in ENVIRONMENTS:
        insert(connection, "environments", **vars(place))
    for copy in range(copies):
        for who, observed in OBSERVED:
            insert(
                connection,
                "measurements",
                candidate_id=CANDIDATES[who],
                environment_id=1 + ENVIRONMENTS.index(observed.environment),
                aspect=observed.aspect,
                key=observed.key + "'" * copy,
                seed=observed.seed,
                seconds=observed.seconds,
                detail=json.dumps(observed.detail),
                created="2026-01-02T03:04:05.000000+00:00",
            )
            last = connection.scalar(text("SELECT max(id) FROM measurements"))
            for quantity in observed.quantities:
                fields = {**vars(quantity), "detail": json.dumps(quantity.detail)}
                insert(connection, "quantities", measurement_id=last, **fields)
    for number, who, state, quality, speed, origins in TRIALS:
        insert(
            connection,
            "trials",
            study_id=1,
            number=number,
            candidate_id=CANDIDATES[who],
            numbers=json.dumps([number, 0.5]),
            state=state,
            quality_id=quality,
            speed_id=speed,
            origins=json.dumps(origins),
        )
    for detail in ("first", "last"):
        insert(
            connection,
            "failures",
            trial_id=4,
            reason="nan",
            detail=detail,
            traceback="",
            created="2026-01-02T03:04:05.000000+00:00",
        )


# The points that schema 0002 had kept of these: candidate, trial's id, x, y and front.
POINTS = [(0, 1, -12.0, 40.5, False), (1, 2, -12.0, 40.5, False), (2, 3, -25.0, 30.0, True)]


def make_second(url: str, copies: int = 1) -> None:
    """A store as schema 0002 left it."""
    make_old(url, copies, revision="0002")
    engine = create_engine(url.replace("postgresql:", "postgresql+psycopg:"))
    with engine.begin() as connection:
        for who, trial_id, x, y, front in POINTS:
            insert(
                connection,
                "points",
                study_id=1,
                candidate_id=CANDIDATES[who],
                trial_id=trial_id,
                x=x,
                y=y,
                front=front,
            )
        insert(
            connection,
            "work",
            key="quality q1 1",
            state="done",
            owner="host 1 a",
            expires="2026-01-02T03:04:05.000000+00:00",
            attempts=1,
            created="2026-01-02T03:04:05.000000+00:00",
        )
    engine.dispose()


def make_old(url: str, copies: int = 1, revision: str = "0001") -> None:
    """A store as schema 0001 left it, and then as far as the migrations to `revision` bring it."""
    engine = create_engine(url.replace("postgresql:", "postgresql+psycopg:"))
    config = Config()
    config.set_main_option("script_location", next(iter(paretoken.cache.migrations.__path__)))
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "0001")
        fill(connection, copies)
        command.upgrade(config, revision)
    engine.dispose()
    if url.startswith("sqlite"):
        with closing(sqlite3.connect(url.removeprefix("sqlite:///"))) as connection:
            connection.execute("PRAGMA journal_mode = WAL")


def make_third(url: str) -> None:
    """A store as schema 0003 left it; what follows from the rest is written anew."""
    make_old(url, revision="0003")


Make = Callable[[str], None]


@pytest.fixture(params=[make_old, make_second, make_third], ids=["0001", "0002", "0003"])
def make(request: pytest.FixtureRequest) -> Make:
    """A store of each older schema, with the same data."""
    found: Make = request.param
    return found


def test_nothing_is_lost(url: str, make: Make) -> None:
    make(url)
    with Store.open(url, create=False) as store:
        info = store.study("first")
        assert (info.seed, info.space, info.objectives, info.rungs) == (
            2**62,
            {"z": 1, "a": [0.1]},
            (RATE, FID),
            (),
        )
        assert [counts for _, counts in store.studies()] == [
            {"done": 3, "stopped": 0, "failed": 1, "pending": 1},
            {"done": 0, "stopped": 0, "failed": 0, "pending": 0},
        ]
        for number, candidate in enumerate(CANDIDATES):
            expected = [observed for who, observed in OBSERVED if who == number]
            assert store.measurements(candidate) == expected
            assert store.candidate(candidate)[1] == {"w": number}
        trials = store.trials("first")
    assert [(t.number, t.candidate_id, t.state, t.numbers) for t in trials] == [
        (number, CANDIDATES[who], state, (number, 0.5)) for number, who, state, *_ in TRIALS
    ]
    assert trials[3].failure == Failure("nan", "last", "")
    assert [dict(trial.origin) for trial in trials[:3]] == [
        {"quality": "measured", "speed": "measured"},
        {"quality": "measured", "speed": "canonical"},
        {"quality": "canonical", "speed": "measured"},
    ]
    assert [trial.quantities["fid"].value for trial in trials[:3]] == [40.5, 40.5, 30.0]
    assert [trial.quantities["images_per_s"].value for trial in trials[:3]] == [12.0, 12.0, 25.0]
    assert [trial.quantities["speedup"].value for trial in trials[:3]] == [1, 1, 25 / 12]
    assert all(trial.rungs == () for trial in trials)
    assert [trial.fresh for trial in trials[:3]] == [{"quality": 0, "speed": 0}] * 3


def test_statistics_rest_on_every_observation(url: str, make: Make) -> None:
    make(url)
    with Store.open(url) as store:
        for (aspect, key, device), members in {
            ("quality", "q1", ""): [0, 2],
            ("quality", "q2", ""): [5],
            ("speed", "c1", "cpu"): [1, 3, 7],
            ("speed", "c1", "cuda"): [4],
            ("speed", "c2", "cpu"): [6],
        }.items():
            place = THERE if device == "cuda" else HERE
            found = store.find(aspect, place, "f" * 32, key=key)
            assert found is not None
            observed = [OBSERVED[number][1] for number in members]
            assert store.measurements_of(found.id) == observed
            assert (found.split, found.count, found.fresh) == (0, len(members), 0)
            assert found.seconds == pytest.approx(np.mean([each.seconds for each in observed]))
            assert found.candidates == {CANDIDATES[OBSERVED[number][0]] for number in members}
            mean, newest = next(iter(found.quantities.values())), observed[-1].quantities[0]
            values = [each.quantities[0].value for each in observed]
            stated = np.sqrt(np.mean(np.square(values)) / 100 / len(values))
            shown = np.std(values, ddof=1) / np.sqrt(len(values)) if len(values) > 1 else 0
            assert mean.value == pytest.approx(np.mean(values))
            assert mean.spread == pytest.approx(max(stated, shown))
            assert (mean.samples, mean.detail) == (5 * len(values), newest.detail)
            assert (mean.unit, mean.higher, mean.comparable) == ("unit", newest.higher, "N=1000")


def test_finished_trials_have_their_place_and_the_front_is_known(url: str, make: Make) -> None:
    make(url)
    with Store.open(url) as store, store._database.reading() as session:
        assert [trial.number for trial in store.front("first")] == [2]
        assert store.front("empty") == []
        rows = session.scalars(select(PointRow).order_by(PointRow.number)).all()
        places = [(row.number, row.x, row.y) for row in rows]
        front = session.scalars(select(FrontRow.number)).all()
    assert front == [2]
    assert places == [
        (0, -12.0, 40.5),
        (1, -12.0, 40.5),
        (2, -25.0, 30.0),
    ]


def test_the_upgraded_store_finds_the_best_by_any_number(url: str, make: Make) -> None:
    make(url)
    with Store.open(url, create=False) as store:
        for wanted, bounds, expected in (
            (FID, [], 2),
            (FID, [Compare(Number("images_per_s"), "<", 20.0)], 0),
            (
                RATE,
                [
                    Compare(Number("speedup"), "<=", 1.0),
                    Compare(Number("quality_extra"), "==", 1.25),
                ],
                0,
            ),
            (EXTRA, [Compare(Number("quality_extra"), ">", 1.0)], 2),
            (RATE, [Compare(Number("speed_extra"), ">", 1.25)], None),
        ):
            found = store.best("first", wanted, every(*bounds))
            assert (None if found is None else found.number) == expected


def test_the_upgraded_store_takes_new_observations(url: str, make: Make) -> None:
    make(url)
    with Store.open(url) as store:
        found, off = store.observe(CANDIDATES[0], measurement("quality", "q1", 42.0, HERE, 8))
        assert off is None and found.count == 3
        assert found.quantities["fid"].value == pytest.approx(41.0)
        store.finish("first", 4, found.id, None, {"quality": "measured"})
        assert store.trials("first")[4].quantities["fid"].value == pytest.approx(41.0)
        better, _ = store.observe(CANDIDATES[2], measurement("quality", "q2", 20.0, HERE, 9))
        assert store.front("first")[0].quantities["fid"].value == pytest.approx(25.0)
        assert store.best("first", FID, Compare(Number("fid"), "<", 26.0)) is not None
        assert better.count == 2
        assert store.propose("empty", 0, {"w": 7}, ())
    with Store.open(url, create=False) as store:
        assert len(store.measurements(CANDIDATES[0])) == 4


def tables(url: str) -> tuple[list[str], str, int]:
    engine = create_engine(url.replace("postgresql:", "postgresql+psycopg:"))
    with engine.connect() as connection:
        revision = connection.scalar(text(f"SELECT version_num FROM {VERSION_TABLE}"))
        count = connection.scalar(text("SELECT count(*) FROM quantities"))
        names = sorted(inspect(connection).get_table_names())
    engine.dispose()
    return names, revision, count


@pytest.mark.parametrize(
    ("made", "fatal"),
    [
        (make_old, "CREATE TABLE exports"),
        (make_old, "INSERT INTO means"),
        (make_old, "INTO classes"),
        (make_old, "INSERT INTO points"),
        (make_second, "CREATE TABLE numbers"),
        (make_second, "INSERT INTO points"),
        (make_third, "CREATE TABLE rungs"),
        (make_third, "INSERT INTO points"),
    ],
)
def test_an_upgrade_that_fails_leaves_the_old_store(url: str, made: Make, fatal: str) -> None:
    made(url)
    before = tables(url)

    def fail(*given: object) -> None:
        if fatal in str(given[2]):
            raise RuntimeError("power cut")

    event.listen(Engine, "before_cursor_execute", fail)
    try:
        with pytest.raises(RuntimeError, match="power cut"):
            Store.open(url)
    finally:
        event.remove(Engine, "before_cursor_execute", fail)
    assert tables(url) == before
    with Store.open(url) as store:
        assert len(store.measurements(CANDIDATES[0])) == 3


def test_an_upgrade_on_a_full_disk_says_so_and_leaves_the_file_as_it_was(
    sqlite_url: str,
) -> None:
    path = Path(sqlite_url.removeprefix("sqlite:///"))
    make_old(sqlite_url, copies=100)
    content = path.read_bytes()

    def fill_up(connection: sqlite3.Connection, _record: object) -> None:
        (pages,) = connection.execute("PRAGMA page_count").fetchone()
        connection.execute(f"PRAGMA max_page_count = {pages + 5}")

    event.listen(Engine, "connect", fill_up)
    try:
        with pytest.raises(Unreadable, match=r"is full.*free some space") as refused:
            Store.open(sqlite_url)
    finally:
        event.remove(Engine, "connect", fill_up)
    assert "\n" not in str(refused.value)
    assert path.read_bytes() == content
    with Store.open(sqlite_url) as store:
        assert len(store.measurements(CANDIDATES[0])) == 300


@pytest.mark.parametrize("left", [0, 40_000, 200_000])
def test_an_upgrade_on_a_disk_that_is_full_in_earnest(small_disk: Path, left: int) -> None:
    path = small_disk / "store.db"
    url = f"sqlite:///{path}"
    make_old(url, copies=100)
    content = path.read_bytes()
    filler = small_disk / "filler"
    free = os.statvfs(small_disk).f_bavail * os.statvfs(small_disk).f_frsize
    filler.write_bytes(b"x" * (free - left))
    with pytest.raises(Unreadable, match="free some space") as refused:
        Store.open(url)
    assert "\n" not in str(refused.value)
    assert path.read_bytes() == content
    filler.unlink()
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        assert connection.execute(f"SELECT * FROM {VERSION_TABLE}").fetchone() == ("0001",)
