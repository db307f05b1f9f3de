"""What a search finds for its seconds: with rungs, without, at random, and plain Optuna.

    python tests/benchmarks/search_efficiency.py --folder build/efficiency --set decoder.window=8,16

Twenty searches on a real model cost too much, so this REPLAYS MEASURED VALUES. First every
candidate of a finite, narrowed space is measured once at each number of samples, by paretoken, into
a store; that takes as long as it takes, stops after --minutes, and goes on when the same command is
run again. Then the searches run over these measurements, each charged the seconds that were
measured: NSGA-II with rungs, NSGA-II and random without (all three with reuse, as a user runs
them), and Optuna's own NSGA-II in its own loop, which pays for every proposal. Not charged are the
law level, proposing, and measuring the front afresh. Searches of paretoken begin with plain
decoding, which is the slowest candidate; Optuna need not.

Told is the hypervolume of what a search has finished at the full number of samples, every
candidate taken at the best estimate that the store has of it, relative to that of the whole space.
"""

from __future__ import annotations

import json
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import optuna
import typer
from replayed_measurements import NAME, Replayed, Table, replaying, study_of
from rich.console import Console
from rich.table import Table as Printed

from paretoken.cache.digest import candidate_id
from paretoken.cache.front import hypervolume
from paretoken.cache.store import Store
from paretoken.evaluators.image_workload import ImageWorkload
from paretoken.search.algorithms._optuna import suggest
from paretoken.search.decisions import Decisions
from paretoken.search.loop import Plan, search
from paretoken.search.measuring import Reuse
from paretoken.search.progress import Progress
from paretoken.search.rungs import parse
from paretoken.spaces.candidate import from_tree, to_tree
from paretoken.spaces.canonical import canonical
from paretoken.spaces.records import StudyInfo
from paretoken.spaces.space import Space, load, parse_setting

MOST = 100_000  # writings of candidates that are looked through for different ones
POPULATION = 12  # of Optuna's NSGA-II as of ours: its default of 50 would be random here
SHARES = (0.05, 0.1, 0.2, 0.4, 0.7, 1.0)  # of the budget, where the table looks


@dataclass(frozen=True)
class Finish:
    """After so many seconds of measuring a candidate was finished, or a proposal of Optuna's."""

    seconds: float
    candidate: str


class _Enough(Exception):
    """The time or the budget is spent; the study stands as after Ctrl-C."""


def main(
    folder: Annotated[Path, typer.Option(help="Store and results go here; also to go on.")],
    space: str = "fashion-small",
    settings: Annotated[
        list[str] | None, typer.Option("--set", help="Narrow the space: PATH=VALUES.")
    ] = None,
    rungs: str = "125,250",
    samples: int = 1000,
    minutes: Annotated[float, typer.Option(help="For the measurements of this call.")] = 9.0,
    budget: Annotated[
        float | None, typer.Option(help="Seconds of a search. [default: 0.4 of the whole space]")
    ] = None,
    seeds: int = 5,
    device: Annotated[str | None, typer.Option(help="cpu or cuda.")] = None,
) -> None:
    """Measure the space, replay the searches, print one table."""
    folder.mkdir(parents=True, exist_ok=True)
    console = Console(stderr=True, highlight=False)
    narrowed = load(space)
    for setting in settings or ():
        narrowed = narrowed.narrow(*parse_setting(setting))
    options: dict[str, Any] = {"batch": 1} | ({"device": device} if device else {})
    steps = parse(rungs)
    deadline = time.monotonic() + 60 * minutes
    with Store.open(f"sqlite:///{folder}/measured.db") as store:
        fixed = narrowed.fix("runtime.batch", 1)
        for number in (*steps, samples):
            if not _measure(store, fixed, number, options, deadline, console):
                console.print("time is up: run the same command again", markup=False)
                raise typer.Exit(3)
        table = Table(store, fixed, steps, samples)
    cost = sum(found.seconds(samples) for found in table.found.values())
    budget = budget or 0.4 * cost
    plan = Plan(
        "s", NAME, space, tuple(settings or ()), trials=None, options={"batch": 1}, confirm=False
    )
    searches: dict[str, Callable[[int], Sequence[Finish]]] = {
        f"NSGA-II, rungs {rungs}": lambda seed: _paretoken(
            table, replace(plan, seed=seed, rungs=steps), budget
        ),
        "NSGA-II": lambda seed: _paretoken(table, replace(plan, seed=seed), budget),
        "random": lambda seed: _paretoken(
            table, replace(plan, seed=seed, algorithm="random"), budget
        ),
        "Optuna NSGA-II": lambda seed: _optuna(table, narrowed, seed, budget),
    }
    volume = _volume(table)
    curves: dict[str, list[list[tuple[float, float]]]] = {}
    for name, run in searches.items():
        curves[name] = []
        for seed in range(seeds):
            curves[name].append(list(_curve(run(seed), volume)))
            console.print(f"{name}, seed {seed}: {len(curves[name][-1]) - 1} finished")
    told = (
        f"REPLAYED from measurements of {len(table.found)} candidates of {space} "
        f"({cost:.0f} s at N = {samples}) on {table.plain.best.environment.device}: hypervolume, "
        f"per cent of the whole space's; median of {seeds} seeds (least to most)"
    )
    _write(folder, told, curves, budget)
    _print(told, curves, budget)


def _measure(
    store: Store,
    space: Space,
    samples: int,
    options: dict[str, Any],
    deadline: float,
    console: Console,
) -> bool:
    """Measure every candidate by so many samples, each for itself; whether all are done."""
    name = study_of(space, samples)
    plan = Plan(
        name, "fashion", trials=1, resume=True, confirm=False,
        reuse=Reuse(observations=1, audit=1.0),  # what equals another is measured all the same
        options={**options, "samples": samples},
    )  # fmt: skip
    if name not in [info.name for info, _ in store.studies()]:
        _propose_all(store, space, plan)
    size = store.size(name)

    def watch(moment: Progress) -> None:
        if moment.finished is not None:
            console.print(f"{name}: {moment.finished.number + 1} of {size}", end="\r")
        if time.monotonic() > deadline:
            raise _Enough

    if any(trial.state == "pending" for trial in store.trials(name)):
        try:
            search(plan, store, watch)
        except _Enough:
            return False
    return True


def _propose_all(store: Store, space: Space, plan: Plan) -> None:
    """A study of every candidate that the space has, none of them measured."""
    decisions = Decisions(space)
    if decisions.count > MOST:
        raise typer.BadParameter(f"{decisions.count} candidates: narrow the space with --set.")
    trees = {}
    for index in range(decisions.count):
        numbers = decisions.nth(index)
        tree = to_tree(canonical(from_tree(decisions.tree(numbers))))
        trees.setdefault(candidate_id(tree), (tree, numbers))
    plain = to_tree(canonical(from_tree({"runtime": {"is": "runtimes/local", "batch": 1}})))
    trees.pop(candidate_id(plain), None)
    store.create_study(
        StudyInfo(
            plan.study,
            plan.workload,
            "grid",
            0,
            space.to_json(),
            ImageWorkload.objectives,
            plan.options,
            "",
        )
    )
    for number, (tree, numbers) in enumerate([(plain, ()), *trees.values()]):
        store.propose(plan.study, number, tree, numbers)


def _paretoken(table: Table, plan: Plan, budget: float) -> list[Finish]:
    """A search by paretoken, until it has spent the budget or knows the whole space."""
    workload: Replayed = replaying(table)
    finished: list[Finish] = []

    def watch(moment: Progress) -> None:
        if workload.spent > budget:
            raise _Enough
        if moment.finished is not None and moment.finished.state == "done":
            finished.append(Finish(workload.spent, moment.finished.candidate_id))

    with tempfile.TemporaryDirectory() as at, Store.open(f"sqlite:///{at}/s.db") as store:
        try:
            search(plan, store, watch)
        except _Enough:
            pass
    return finished


def _optuna(table: Table, space: Space, seed: int, budget: float) -> list[Finish]:
    """Optuna by itself: its sampler, its storage, its loop; every proposal is measured."""
    decisions = Decisions(space.fix("runtime.batch", 1))
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        sampler = optuna.samplers.NSGAIISampler(population_size=POPULATION, seed=seed)
    directions = ["maximize" if wanted.higher else "minimize" for wanted in table.objectives]
    study = optuna.create_study(directions=directions, sampler=sampler)
    finished: list[Finish] = []
    spent = 0.0
    free = 0  # proposals in a row that failed, which cost nothing here
    while spent <= budget and free < 200:
        trial = study.ask()
        tree = decisions.tree(decisions.decide(lambda point, trial=trial: suggest(trial, point)))
        one = candidate_id(to_tree(canonical(from_tree(tree))))
        found = table.found[one]
        spent += found.seconds(table.samples)
        if found.speed is None or table.samples not in found.quality:
            study.tell(trial, state=optuna.trial.TrialState.FAIL)
            free += 1
            continue
        free = 0
        own = (*found.quality[table.samples].quantities, *found.speed.quantities)
        values = {quantity.name: quantity.value for quantity in own}
        study.tell(trial, [values[wanted.name] for wanted in table.objectives])
        if spent <= budget:
            finished.append(Finish(spent, one))
    return finished


def _volume(table: Table) -> Callable[[set[str]], float]:
    """The share of the space's hypervolume that candidates have, by the best estimates of all."""
    plain = table.plain.best.quantities
    corner = {
        wanted.name: 0.0 if wanted.higher else 2 * plain[wanted.name].value
        for wanted in table.objectives
    }
    best = {one: found.best for one, found in table.found.items() if found.best.state == "done"}
    whole = hypervolume(best.values(), table.objectives, corner)

    def share(candidates: set[str]) -> float:
        known = [best[one] for one in candidates if one in best]
        return hypervolume(known, table.objectives, corner) / whole if known else 0.0

    return share


def _curve(
    finished: Sequence[Finish], volume: Callable[[set[str]], float]
) -> Iterator[tuple[float, float]]:
    """Seconds and share, from nothing on, at every candidate that is new."""
    yield 0.0, 0.0
    known: set[str] = set()
    for each in finished:
        if each.candidate not in known:
            known.add(each.candidate)
            yield each.seconds, volume(known)


def _at(curve: Sequence[tuple[float, float]], seconds: float) -> float:
    return max(share for at, share in curve if at <= seconds)


def _print(told: str, curves: dict[str, Any], budget: float) -> None:
    table = Printed("", *(f"{share * budget:.0f} s" for share in SHARES))
    for name, runs in curves.items():
        cells = []
        for share in SHARES:
            seen = [100 * _at(curve, share * budget) for curve in runs]
            cells.append(f"{np.median(seen):.1f} ({min(seen):.1f} to {max(seen):.1f})")
        table.add_row(name, *cells)
    out = Console(width=180, highlight=False)
    out.print(told, markup=False, soft_wrap=True)
    out.print(table)


def _write(folder: Path, told: str, curves: dict[str, Any], budget: float) -> None:
    """The curves as JSON, and as a page with a picture: medians, and every seed thinly."""
    import plotly.graph_objects as go

    document = {"told": told, "budget_seconds": budget, "curves": curves}
    (folder / "efficiency.json").write_text(json.dumps(document, indent=1) + "\n")
    figure = go.Figure()
    colours = ("#1b6ca8", "#e07a1f", "#6b7280", "#b0353a")
    grid = np.linspace(0.0, budget, 201)
    for (name, runs), colour in zip(curves.items(), colours, strict=True):
        line = {"color": colour, "width": 1, "shape": "hv"}
        for curve in runs:
            seconds, shares = zip(*curve, (budget, curve[-1][1]), strict=True)
            figure.add_scatter(
                x=seconds, y=[100 * share for share in shares], mode="lines", line=line,
                opacity=0.3, showlegend=False, hoverinfo="skip",
            )  # fmt: skip
        median = [100 * float(np.median([_at(curve, at) for curve in runs])) for at in grid]
        figure.add_scatter(x=grid, y=median, name=name, mode="lines", line={**line, "width": 3})
    figure.update_layout(
        title={"text": told, "font": {"size": 12}}, template="plotly_white",
        xaxis_title="seconds of evaluation", yaxis_title="hypervolume, % of the whole space",
    )  # fmt: skip
    figure.write_html(folder / "efficiency.html")


if __name__ == "__main__":
    typer.run(main)
