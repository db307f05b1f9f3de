"""What reuse saves: one recorded list of proposals, measured with it and without.

    python tests/benchmarks/reuse_savings.py --folder build/reuse --proposals 500 --samples 1000

A search by NSGA-II with reuse, as a user runs it, makes the proposals; then every one of them is
measured for itself, in a store of its own. Both fronts are measured afresh. Each part stops after
--minutes and goes on when the same command is run again. Once all is done, one table is printed.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from rich.console import Console
from rich.table import Table

from paretoken.cache.front import hypervolume, pareto_front
from paretoken.cache.store import Store
from paretoken.search.accounting import account
from paretoken.search.cli.live import watching
from paretoken.search.loop import Plan, search
from paretoken.search.measuring import Reuse
from paretoken.search.progress import Progress
from paretoken.search.report.results import read
from paretoken.spaces.records import Quantity, StudyInfo, Trial

RESAMPLED = 1000


def main(
    folder: Annotated[Path, typer.Option(help="Stores go here; also where it goes on.")],
    proposals: int = 500,
    samples: int = 1000,
    minutes: Annotated[float, typer.Option(help="For this call.")] = 9.0,
    space: str = "image-decoding",
    settings: Annotated[
        list[str] | None, typer.Option("--set", help="Narrow the space: PATH=VALUES.")
    ] = None,
    device: Annotated[str | None, typer.Option(help="cpu or cuda.")] = None,
    seed: int = 0,
) -> None:
    """Propose, measure twice, compare."""
    folder.mkdir(parents=True, exist_ok=True)
    options: dict[str, Any] = {"samples": samples, "batch": 1}
    options |= {"device": device} if device else {}
    plan = Plan(
        "with", "fashion", space, tuple(settings or ()), trials=None, minutes=minutes,
        seed=seed, options=options,
    )  # fmt: skip
    console = Console(stderr=True)
    with Store.open(f"sqlite:///{folder}/with.db") as store:
        _propose(plan, store, console, proposals)
        info, recorded = store.study("with"), store.trials("with")
    if len(recorded) < proposals or any(trial.state == "pending" for trial in recorded):
        raise typer.Exit(_goes_on(console, f"{len(recorded)} of {proposals} proposals"))
    with Store.open(f"sqlite:///{folder}/without.db") as store:
        if not store.studies():
            _copy(replace(info, name="without"), recorded, store)
    studies: dict[str, tuple[StudyInfo, list[Trial], float]] = {}
    for name, share in (("with", True), ("without", False)):
        with Store.open(f"sqlite:///{folder}/{name}.db") as store:
            again = replace(plan, study=name, resume=True, trials=1, reuse=Reuse(share=share))
            outcome = _search(again, store, console)
            trials = store.trials(name)
            waiting = sum(trial.state == "pending" for trial in trials)
            if waiting or outcome.unconfirmed:
                raise typer.Exit(
                    _goes_on(console, f"{name}: {waiting} trials, {outcome.unconfirmed} points")
                )
            spent = sum(
                m.seconds
                for identity in {trial.candidate_id for trial in trials}
                for m in store.measurements(identity)
            )
            studies[name] = (store.study(name), trials, spent)
            if share:
                found = account(trials, store.disagreements(name))
    _print(studies, found, proposals, samples)


class _Enough(Exception):
    """So many proposals as were wanted have been answered; the study stands as after Ctrl-C."""


def _propose(plan: Plan, store: Store, console: Console, proposals: int) -> None:
    """Search until there are so many proposals: the loop itself counts candidates."""
    known = any(info.name == plan.study for info, _ in store.studies())
    if known and len(store.trials(plan.study)) >= proposals:
        return
    with contextlib.suppress(_Enough), _watching(plan, store, console) as watcher:

        def watch(progress: Progress) -> None:
            watcher(progress)
            if progress.finished is not None and progress.finished.number + 1 >= proposals:
                raise _Enough

        search(replace(plan, resume=known, confirm=False), store, watch)


def _search(plan: Plan, store: Store, console: Console) -> Any:
    with _watching(plan, store, console) as watcher:
        return search(plan, store, watcher)


def _watching(plan: Plan, store: Store, console: Console) -> Any:
    results = partial(read, store, plan.study, front_only=True)
    return watching(console, partial(store.study, plan.study), results)


def _copy(info: StudyInfo, recorded: Sequence[Trial], store: Store) -> None:
    """The same proposals, none of them measured."""
    store.create_study(info)
    for trial in recorded:
        store.propose(info.name, trial.number, dict(trial.tree), trial.numbers)


def _goes_on(console: Console, done: str) -> int:
    console.print(f"time is up at {done}: run the same command again", markup=False)
    return 3


def _print(studies: Any, found: Any, proposals: int, samples: int) -> None:
    plain = studies["with"][1][0].quantities
    corner = {"images_per_s": 0.0, "fid": 2 * plain["fid"].value}
    fronts = {
        name: pareto_front([t for t in trials if t.state == "done"], info.objectives)
        for name, (info, trials, _) in studies.items()
    }
    objectives = studies["with"][0].objectives
    volumes = {name: hypervolume(front, objectives, corner) for name, front in fronts.items()}
    chance = np.random.default_rng(0)
    drawn = {
        name: np.array([_drawn(front, objectives, corner, chance) for _ in range(RESAMPLED)])
        for name, front in fronts.items()
    }
    table = Table("", "with reuse", "without", "with - without")
    table.add_row("measurements", str(proposals * 2 - found.saved), str(proposals * 2), "")
    table.add_row("seconds measured", *(f"{spent:.0f}" for _, _, spent in studies.values()), "")
    difference = volumes["with"] - volumes["without"]
    table.add_row("hypervolume", *(f"{v:.0f}" for v in volumes.values()), f"{difference:+.0f}")
    table.add_row(
        "95 % interval, redrawn",
        *map(_interval, (*drawn.values(), drawn["with"] - drawn["without"])),
    )
    out = Console(width=100)
    out.print(table)
    out.print(
        f"{proposals} proposals, N = {samples}: {found.repeated / proposals:.1%} repeat canonical "
        f"settings; qualities answered by law {found.quality_hits / proposals:.1%}, speeds "
        f"{found.speed_hits / proposals:.1%}, judged before "
        f"{found.transcript_hits / proposals:.1%}; {found.disagreements} disagreements"
    )


def _interval(values: Any) -> str:
    low, high = np.quantile(values, [0.025, 0.975])
    return f"{low:.0f} to {high:.0f}"


def _drawn(front: Sequence[Trial], objectives: Any, corner: Any, chance: Any) -> float:
    """Hypervolume of a front whose values are drawn anew from their spreads.

    Candidates with one law share their observations, so equal quantities move together: drawn one
    by one, the best of many copies would raise the hypervolume of the front with reuse.
    """
    moved: dict[tuple[str, float, float], Quantity] = {}

    def again(trial: Trial) -> Trial:
        fresh = dict(trial.quantities)
        for objective in objectives:
            seen = fresh[objective.name]
            copy = (seen.name, seen.value, seen.spread)
            if copy not in moved:
                moved[copy] = replace(seen, value=float(chance.normal(seen.value, seen.spread)))
            fresh[objective.name] = moved[copy]
        return replace(trial, quantities=fresh)

    return hypervolume(map(again, front), objectives, corner)


if __name__ == "__main__":
    typer.run(main)
