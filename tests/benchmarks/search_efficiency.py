"""What a search finds for its seconds: with rungs, without, at random, and plain Optuna.

    python tests/benchmarks/search_efficiency.py --folder build/efficiency --rungs 125,1000

Twenty searches on a real model cost too much, so this REPLAYS MEASURED VALUES. First every
candidate of a finite, narrowed space is measured once at each rung, by paretoken, into a store;
that takes as long as it takes, stops after --minutes, and goes on when the same command is run
again (or one with a wider space: what is measured already stays so). Then the searches run over
these measurements, each charged the seconds that were measured: NSGA-II with rungs, NSGA-II and
random without (all three in the loop of `paretoken search`, with its reuse), and Optuna's NSGA-II
in its own loop, with categorical parameters: it pays for every proposal. Not charged are the law
level, proposing, and measuring the front afresh. Searches of paretoken begin with plain decoding,
at every rung; Optuna need not.

Told is the hypervolume of what a search has finished at the last rung by then, every candidate
taken at the mean of all there is in the store, as a share of that of the whole space. The corner is
the worst value of each objective in the space.
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
from replayed_measurements import NAME, Enough, Replayed, Table, measure, replaying
from rich.console import Console
from rich.table import Table as Printed

from paretoken.cache.digest import candidate_id
from paretoken.cache.front import hypervolume
from paretoken.cache.store import Store
from paretoken.search.decisions import Decisions, Point
from paretoken.search.loop import Plan, search
from paretoken.search.progress import Progress
from paretoken.search.rungs import parse
from paretoken.spaces.candidate import from_tree, to_tree
from paretoken.spaces.canonical import canonical
from paretoken.spaces.space import Space, load, parse_setting

POPULATION = 12  # of Optuna's NSGA-II as of ours: its default of 50 would be random here
PROPOSALS = 2000  # of Optuna at most: a proposal that failed costs nothing here
SHARES = (0.05, 0.1, 0.25, 0.5, 1.0)  # of the seconds of the whole space, for the table


@dataclass(frozen=True)
class Finish:
    """After so many seconds of measuring a candidate was finished, or a proposal of Optuna's."""

    seconds: float
    candidate: str


Curve = list[tuple[float, float]]  # seconds, share of the whole hypervolume


def main(
    folder: Annotated[Path, typer.Option(help="Store and results go here; also to go on.")],
    space: str = "fashion-small",
    settings: Annotated[
        list[str] | None, typer.Option("--set", help="Narrow the space: PATH=VALUES.")
    ] = None,
    rungs: Annotated[str, typer.Option(help="The last is that of searches without.")] = "125,1000",
    minutes: Annotated[float, typer.Option(help="For the measurements of this call.")] = 9.0,
    seeds: int = 5,
    device: Annotated[str | None, typer.Option(help="cpu or cuda.")] = None,
) -> None:
    """Measure the space, replay the searches, print one table."""
    folder.mkdir(parents=True, exist_ok=True)
    console = Console(stderr=True, highlight=False)
    narrowed = load(space)
    for setting in settings or ():
        narrowed = narrowed.narrow(*parse_setting(setting))
    narrowed = narrowed.fix("runtime.batch", 1)
    options: dict[str, Any] = {"batch": 1} | ({"device": device} if device else {})
    steps = parse(rungs)
    deadline = time.monotonic() + 60 * minutes
    with Store.open(f"sqlite:///{folder}/measured.db") as store:
        for samples in steps:
            if not measure(store, narrowed, samples, options, deadline, console):
                console.print("time is up: run the same command again", markup=False)
                raise typer.Exit(3)
        table = Table(store, narrowed, steps)
    cost = sum(found.seconds(steps[-1]) for found in table.found.values())
    budget = SHARES[-1] * cost
    plan = Plan(
        "s", NAME, space, tuple(settings or ()), trials=None, options={"batch": 1}, confirm=False
    )
    climbing, chance = replace(plan, rungs=steps), replace(plan, algorithm="random")
    searches: dict[str, Callable[[int], list[Finish]]] = {
        f"NSGA-II, rungs {rungs}": lambda s: _paretoken(table, climbing, s, budget),
        "NSGA-II": lambda s: _paretoken(table, plan, s, budget),
        "random": lambda s: _paretoken(table, chance, s, budget),
        "plain Optuna NSGA-II": lambda s: _optuna(table, narrowed, s, budget),
    }
    volume = _volume(table)
    curves: dict[str, list[Curve]] = {name: [] for name in searches}
    for name, run in searches.items():
        for seed in range(seeds):
            curve = list(_curve(run(seed), volume))
            curves[name].append(curve)
            console.print(f"{name}, seed {seed}: {len(curve) - 1} candidates finished")
    told = (
        f"REPLAYED from measurements of {len(table.found)} candidates of {space} "
        f"({cost:.0f} s at N = {steps[-1]}) on {table.environment.device}: hypervolume, per cent "
        f"of the whole space's, mean of {seeds} seeds ± standard error, by seconds of evaluation"
    )
    _write(folder, told, curves, budget)
    _print(told, curves, cost)


def _paretoken(table: Table, plan: Plan, seed: int, budget: float) -> list[Finish]:
    """A search by paretoken, until it has spent the budget or knows the whole space."""
    workload: Replayed = replaying(table)
    finished: list[Finish] = []

    def watch(moment: Progress) -> None:
        if workload.spent > budget:
            raise Enough
        if moment.finished is not None and moment.finished.state == "done":
            finished.append(Finish(workload.spent, moment.finished.candidate_id))

    with tempfile.TemporaryDirectory() as at, Store.open(f"sqlite:///{at}/s.db") as store:
        try:
            search(replace(plan, seed=seed), store, watch)
        except Enough:
            pass
    return finished


def _optuna(table: Table, space: Space, seed: int, budget: float) -> list[Finish]:
    """Optuna by itself: its sampler, its storage, its loop; every proposal is measured."""
    decisions = Decisions(space)
    samples = table.rungs[-1]
    finished: list[Finish] = []
    spent = 0.0

    def objective(trial: optuna.Trial) -> list[float]:
        nonlocal spent

        def choose(point: Point) -> Any:
            return trial.suggest_categorical(point.name, range(point.size))

        tree = decisions.tree(decisions.decide(choose))
        one = candidate_id(to_tree(canonical(from_tree(tree))))
        found = table.found[one]
        spent += found.seconds(samples)
        if spent > budget:
            trial.study.stop()
            raise optuna.TrialPruned
        if found.speed is None or samples not in found.quality:
            raise optuna.TrialPruned
        finished.append(Finish(spent, one))
        own = (*found.quality[samples].quantities, *found.speed.quantities)
        values = {quantity.name: quantity.value for quantity in own}
        return [values[wanted.name] for wanted in table.objectives]

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        sampler = optuna.samplers.NSGAIISampler(population_size=POPULATION, seed=seed)
        directions = ["maximize" if wanted.higher else "minimize" for wanted in table.objectives]
        study = optuna.create_study(directions=directions, sampler=sampler)
        study.optimize(objective, n_trials=PROPOSALS)
    return finished


def _volume(table: Table) -> Callable[[set[str]], float]:
    """The share of the space's hypervolume that candidates have, by the best estimates of all."""
    best = {one: found.best for one, found in table.found.items() if found.best.state == "done"}
    corner = {}
    for wanted in table.objectives:
        values = [trial.quantities[wanted.name].value for trial in best.values()]
        corner[wanted.name] = max(values, key=wanted.loss)
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


def _at(curve: Curve, seconds: float) -> float:
    return max(share for at, share in curve if at <= seconds)


def _print(told: str, curves: dict[str, list[Curve]], cost: float) -> None:
    heads = (f"{100 * share:.0f} %: {share * cost:.0f} s" for share in SHARES)
    table = Printed("", *heads)
    for name, runs in curves.items():
        cells = []
        for share in SHARES:
            seen = np.array([100 * _at(curve, share * cost) for curve in runs])
            error = seen.std(ddof=1) / np.sqrt(len(seen)) if len(seen) > 1 else np.nan
            cells.append(f"{seen.mean():.1f} ± {error:.1f}")
        table.add_row(name, *cells)
    out = Console(width=120, highlight=False)
    out.print(told, markup=False, soft_wrap=True)
    out.print(table)


def _write(folder: Path, told: str, curves: dict[str, list[Curve]], budget: float) -> None:
    """The curves as JSON, and as a page with a picture: means, and every seed thinly."""
    import plotly.graph_objects as go

    document = {"told": told, "budget_seconds": budget, "curves": curves}
    (folder / "efficiency.json").write_text(json.dumps(document, indent=1) + "\n")
    figure = go.Figure()
    colours = ("#1b6ca8", "#e07a1f", "#6b7280", "#b0353a")
    grid = np.linspace(0.0, budget, 201)
    for (name, runs), colour in zip(curves.items(), colours, strict=True):
        line = {"color": colour, "width": 1, "shape": "hv"}
        seen = np.array([[100 * _at(curve, at) for at in grid] for curve in runs])
        for one in seen:
            figure.add_scatter(
                x=grid, y=one, mode="lines", line=line, opacity=0.3, showlegend=False,
                hoverinfo="skip",
            )  # fmt: skip
        line = {**line, "width": 3}
        figure.add_scatter(x=grid, y=seen.mean(axis=0), name=name, mode="lines", line=line)
    figure.update_layout(
        title={"text": told, "font": {"size": 12}}, template="plotly_white",
        xaxis_title="seconds of evaluation", yaxis_title="hypervolume, % of the whole space",
    )  # fmt: skip
    figure.write_html(folder / "efficiency.html")


if __name__ == "__main__":
    typer.run(main)
