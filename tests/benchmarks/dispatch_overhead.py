"""What a candidate costs beside its evaluation: here, with Ray actors, with Ray Tune and Optuna.

    python tests/benchmarks/dispatch_overhead.py --candidates 10000

Evaluations are trivial, so all time is overhead. "store only" is what the loop does for a candidate
that needs no law level: propose, canonical form, key, store (proposal, two measurements, the end of
the trial, which keeps the front right), read it back, tell. "search" is `paretoken search` itself
on a workload that decodes nothing, leases and law fingerprints included. Each row: milliseconds a
candidate over the first and the last tenth of the study and over all of it, on the clock and of
this process's CPU time, which is the one to read where others compute on the machine as well.
"""

from __future__ import annotations

import logging
import os
import random
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from paretoken.cache.store import Store
from paretoken.search.decisions import Decisions
from paretoken.search.loop import Plan, search
from paretoken.search.measuring import Reuse
from paretoken.search.progress import Progress
from paretoken.search.workers import Cluster
from paretoken.spaces.canonical import canonical_tree
from paretoken.spaces.objectives import Objective
from paretoken.spaces.plugins import KINDS, Plugins
from paretoken.spaces.records import Environment, Measurement, Quantity, StudyInfo
from paretoken.spaces.space import load

OBJECTIVES = (Objective("images_per_s", "", True, ""), Objective("fid", "", False, ""))
Moment = tuple[float, float]  # seconds on the clock, seconds of CPU time
PLACE = Environment("cpu", "benchmark")
TOY = Path(__file__).parents[1] / "search" / "toy_workload.py"


def main(
    candidates: Annotated[int, typer.Option(help="In the studies of this project.")] = 10000,
    searched: Annotated[int, typer.Option(help="In `search`, here and on Ray.")] = 300,
    optuna: Annotated[int, typer.Option(help="Trials of Optuna on SQLite.")] = 1000,
    tuned: Annotated[int, typer.Option(help="Trials of Ray Tune that reuse actors.")] = 200,
    tuned_anew: Annotated[int, typer.Option(help="Trials of Ray Tune that do not.")] = 10,
) -> None:
    """Measure everything, then print one table."""
    sys.path.insert(0, str(_toys()))
    os.environ["PYTHONPATH"] = f"{sys.path[0]}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"
    KINDS["workloads"] = Plugins("workloads", KINDS["workloads"].package)
    table = Table(
        "what", "candidates", "first tenth, ms", "last tenth, ms", "whole, ms", title="clock / CPU"
    )

    def row(what: str, count: int, moments: list[Moment]) -> None:
        tenth = max(1, count // 10)
        spans = (moments[0], moments[tenth]), (moments[-1 - tenth], moments[-1])
        each = [_spent(*span, tenth) for span in spans]
        each.append(_spent(moments[0], moments[-1], count))
        table.add_row(what, f"{count:,}", *each)
        print(f"{what}: {', '.join(each)}", file=sys.stderr, flush=True)

    for algorithm in ("random", "evolution", "nsga2"):
        row(f"store only, {algorithm}", candidates, _timed(_stored, algorithm, candidates))
    row("Optuna NSGA-II, SQLite", optuna, _timed(_optuna, optuna))
    for algorithm in ("random", "nsga2"):
        row(f"search, in process, {algorithm}", searched, _searched(algorithm, searched, None))
    import ray

    ray.init("local", include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR)
    cluster = Cluster(workers=2)
    for algorithm in ("random", "nsga2"):
        moments = _searched(algorithm, searched, cluster)
        row(f"search, 2 Ray actors, {algorithm}", searched, moments)
    row("a call to a Ray actor", 1000, _timed(_called, 1000))
    row("Ray Tune, reuse_actors", tuned, _tuned(tuned, reuse=True))
    row("Ray Tune, its default", tuned_anew, _tuned(tuned_anew, reuse=False))
    ray.shutdown()
    Console().print(table)


def _now() -> Moment:
    return time.perf_counter(), time.process_time()


def _spent(begun: Moment, ended: Moment, count: int) -> str:
    clock, computing = (1e3 * (b - a) / count for a, b in zip(begun, ended, strict=True))
    return f"{clock:.2f} / {computing:.2f}"


def _timed(work: Callable[..., Iterator[None]], *arguments: Any) -> list[Moment]:
    return [_now(), *(_now() for _ in work(*arguments))]


def _stored(name: str, count: int) -> Iterator[None]:
    space = load("image-decoding")
    decisions = Decisions(space)
    algorithm = KINDS["algorithms"].load(name)(decisions, OBJECTIVES, 0)
    noise = random.Random(0)
    with tempfile.TemporaryDirectory() as folder, Store.open(f"sqlite:///{folder}/s.db") as store:
        info = StudyInfo("s", "toy", name, 0, space.to_json(), OBJECTIVES, {}, "")
        store.create_study(info)
        for number in range(count):
            numbers = algorithm.ask()
            tree = canonical_tree(decisions.tree(numbers))
            one = store.propose("s", number, tree, numbers)
            fid = Quantity("fid", noise.gauss(50, 9), 1.0, 500, "", False)
            rate = Quantity("images_per_s", noise.gauss(9, 2), 0.1, 5)
            measured = [
                (one, Measurement("quality", f"law {one}", (fid,), PLACE, 0, 1.0)),
                (one, Measurement("speed", f"cost {one}", (rate,), PLACE, 0, 1.0)),
            ]
            quality, speed = store.observe_many(measured)
            store.finish("s", number, quality, speed, {})
            trial = store.trials("s", {0, number})[-1]
            losses = tuple(o.loss(trial.quantities[o.name].value) for o in OBJECTIVES)
            algorithm.tell(numbers, losses)
            yield


def _optuna(count: int) -> Iterator[None]:
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    points = Decisions(load("image-decoding")).points
    noise = random.Random(0)
    with tempfile.TemporaryDirectory() as folder:
        study = optuna.create_study(
            storage=f"sqlite:///{folder}/o.db",
            sampler=optuna.samplers.NSGAIISampler(population_size=12, seed=0),
            directions=["minimize"] * 2,
        )
        for _ in range(count):
            trial = study.ask()
            for point in points:
                trial.suggest_int(point.name, 0, max(0, point.size - 1))
            study.tell(trial, [noise.gauss(50, 9), noise.gauss(9, 2)])
            yield


def _searched(algorithm: str, count: int, cluster: Cluster | None) -> list[Moment]:
    moments: list[Moment] = []

    def watch(moment: Progress) -> None:
        if moment.finished is not None:
            moments.append(_now())

    plan = Plan(
        "s", "toy", "image-decoding", algorithm=algorithm, trials=count + 1, confirm=False,
        options={"device": "cpu"}, reuse=Reuse(1, 0.0), cluster=cluster,
    )  # fmt: skip
    with tempfile.TemporaryDirectory() as folder, Store.open(f"sqlite:///{folder}/s.db") as store:
        search(plan, store, watch)
    return moments[: count + 1]  # from the end of plain decoding on: workers are open then


def _called(count: int) -> Iterator[None]:
    import ray

    class Trivial:
        def evaluate(self, number: int) -> int:
            return number

    remote: Any = ray.remote
    actor = remote(Trivial).remote()
    ray.get(actor.evaluate.remote(0))
    for number in range(count):
        ray.get(actor.evaluate.remote(number))
        yield


def _tuned(count: int, *, reuse: bool) -> list[Moment]:
    from ray import tune

    def trainable(config: dict[str, float]) -> None:
        tune.report({"loss": config["x"]})

    with tempfile.TemporaryDirectory() as folder:
        tuner = tune.Tuner(
            trainable,
            param_space={"x": tune.uniform(0, 1)},
            tune_config=tune.TuneConfig(num_samples=count, reuse_actors=reuse),
            run_config=tune.RunConfig(storage_path=folder, verbose=0),
        )
        begun = _now()
        tuner.fit()
        ended = _now()
    # Tune tells no moments, so each trial is taken to have cost the same.
    return [
        tuple(a + n * (b - a) / count for a, b in zip(begun, ended, strict=True))
        for n in range(count + 1)
    ]


def _toys() -> Path:
    """A folder that offers the workload `toy` of the tests, as an installed package would."""
    folder = Path(tempfile.mkdtemp(prefix="paretoken-toys-"))
    shutil.copy(TOY, folder)
    installed = folder / "toy-1.0.dist-info"
    installed.mkdir()
    (installed / "METADATA").write_text("Metadata-Version: 2.1\nName: toy\nVersion: 1.0\n")
    entry = "[paretoken.workloads]\ntoy = toy_workload:plugin\n"
    (installed / "entry_points.txt").write_text(entry)
    return folder


if __name__ == "__main__":
    typer.run(main)
