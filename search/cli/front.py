"""`paretoken front`: the front of a study, fastest first."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any

import typer

from paretoken.search.cli.options import (
    DEFAULT_STORE,
    AsJson,
    Budget,
    Device,
    Format,
    Out,
    Store,
    Study,
    Where,
)

if TYPE_CHECKING:
    from rich.console import Console

    from paretoken.search.report.results import Results


def run(
    study: Study,
    where: Where = "",
    budget: Budget = None,
    every: Annotated[
        bool,
        typer.Option(
            "--all", help="Every candidate, stopped and failed ones too, not the front only."
        ),
    ] = False,
    objectives: Annotated[
        str,
        typer.Option(
            "--objectives",
            metavar="NAME,NAME",
            help="Judge by these quantities instead of the study's own, e.g. fid,images_per_s.",
        ),
    ] = "",
    device: Device = "",
    format: Format = "",
    out: Out = None,
    store: Store = DEFAULT_STORE,
    as_json: AsJson = False,
) -> None:
    """Print the Pareto front: the candidates that no other one beats in speed and quality at once.

    Dimmed rows marked ≈ are not on the front, but noise does not tell them from it. With --where or
    --budget it is the front of the candidates that meet them.

    \b
      paretoken front first
      paretoken front first --where 'verifier == "grouped"' --budget 'fid<=+10%'
      paretoken front first --all --out first.parquet
      paretoken front first --all --objectives kid,target_forwards
      paretoken front first --json | jq '.front[].quantities.fid.value'
    """
    from paretoken.cache.store import Store as OpenStore
    from paretoken.search.cli.formats import form
    from paretoken.search.frames import trials_frame
    from paretoken.search.query.selecting import Filter
    from paretoken.search.report.results import read

    shape = form(format, out, as_json)
    fitting = Filter(where, tuple(budget or ()))
    with OpenStore.open(store, create=False) as opened:
        results = read(
            opened, study, objectives, front_only=not every, device=device, wanted=fitting
        )
    listed = results.trials if every else results.fastest_first(results.front)
    shape.emit(
        table=partial(print_results, results, every=every),
        document=partial(as_document, results, every=every),
        frame=partial(trials_frame, results, listed),
    )


def print_results(results: Results, out: Console, *, every: bool = False) -> None:
    """The front of a study, or every candidate, as a table with its legend."""
    from paretoken.search.cli.tables import failures, legend, stopped_ones, table

    info = results.info
    if not results.done:
        out.print(f"study {info.name!r} has no finished candidate yet.", markup=False)
    else:
        # Plain decoding is shown even where it is beaten: every speed-up refers to it.
        shown = results.fastest_first(None if every else [0, *results.front, *results.close])
        wanted = " and ".join(
            f"{'high' if objective.higher else 'low'} {objective.name}"
            for objective in results.objectives
        )
        title = (
            f"study {info.name} on {info.workload}: {len(results.front)} of "
            f"{results.size or len(results.done)} measured candidates are on the front ({wanted})"
            + (f", on {results.device}" if results.device else "")
        )
        out.print(title, markup=False, style="bold", soft_wrap=True)
        out.print(table(results, shown, out.width))
        out.print(legend(results, shown), soft_wrap=True)
    if results.stopped and every:
        out.print(stopped_ones(results, out.width))
    elif results.stopped:
        count = len(results.stopped)
        out.print(f"stopped at a rung: {count} (see --all).", style="dim", markup=False)
    if results.failed and every:
        out.print(failures(results))
    elif results.failed:
        out.print(f"failed: {len(results.failed)} (see --all).", style="dim", markup=False)


def as_document(
    results: Results, *, every: bool = False, account: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """The same as plain JSON. account: of the search that has just ended."""
    from paretoken.search.report.results import as_json

    def listed(numbers: tuple[int, ...]) -> list[dict[str, Any]]:
        return [as_json(trial, results) for trial in results.fastest_first(numbers)]

    document: dict[str, Any] = {
        "study": results.info.name,
        "workload": results.info.workload,
        "objectives": [
            {"name": o.name, "unit": o.unit, "higher": o.higher} for o in results.objectives
        ],
        "device": results.device,
        "note": results.note,
        "done": len(results.done),
        "stopped": len(results.stopped),
        "failed": len(results.failed),
        "front": listed(results.front),
        "indistinguishable": listed(results.close),
    }
    if every:
        document["trials"] = [as_json(trial, results) for trial in results.trials]
    if account is not None:
        document["account"] = dict(account)
    return document
