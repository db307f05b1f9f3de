"""`paretoken front`: the front of a study, fastest first."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any

import typer

from paretoken.search.cli.options import DEFAULT_STORE, AsJson, Device, Store, Study

if TYPE_CHECKING:
    from rich.console import Console

    from paretoken.search.report.results import Results


def run(
    study: Study,
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
    store: Store = DEFAULT_STORE,
    as_json: AsJson = False,
) -> None:
    """Print the Pareto front: the candidates that no other one beats in speed and quality at once.

    Dimmed rows marked ≈ are not on the front, but noise does not tell them from it.

    \b
      paretoken front first
      paretoken front first --all --objectives kid,target_forwards
      paretoken front first --json | jq '.front[].quantities.fid.value'
    """
    from paretoken.cache.store import Store as OpenStore
    from paretoken.search.cli.tables import console
    from paretoken.search.report.results import read

    with OpenStore.open(store, create=False) as opened:
        results = read(opened, study, objectives, front_only=not every, device=device)
    if as_json:
        print_json(results, every=every)
    else:
        print_results(results, console(), every=every)


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


def print_json(
    results: Results, *, every: bool = False, account: Mapping[str, Any] | None = None
) -> None:
    """The same as JSON on standard output. account: of the search that has just ended."""
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
    print(json.dumps(document, indent=2, allow_nan=False))
