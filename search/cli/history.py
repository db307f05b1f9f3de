"""`paretoken history`: how the front of a study grew."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Annotated

import typer

from paretoken.search.cli.options import DEFAULT_STORE, AsJson, Store, Study


def run(
    study: Study,
    every: Annotated[
        bool, typer.Option("--all", help="Every trial, not only those that changed the front.")
    ] = False,
    store: Store = DEFAULT_STORE,
    as_json: AsJson = False,
) -> None:
    """Print the hypervolume of the front after each trial: what the front dominates.

    Counted is what is better than no speed at all and than twice plain decoding's quality loss.
    The numbers are as the store has them now, so later observations move earlier volumes too.

    \b
      paretoken history first
      paretoken history first --all --json
    """
    from rich import box
    from rich.table import Table

    from paretoken.cache.store import Store as OpenStore
    from paretoken.search.cli.tables import console
    from paretoken.spaces.errors import BadInput

    with OpenStore.open(store, create=False) as opened:
        info = opened.study(study)
        plain = next(iter(opened.trials(study, {0})), None)
        if plain is None or plain.state != "done":
            raise BadInput(f"study {study!r} has no plain decoding to refer to yet: search first.")
        corner = {
            objective.name: 0.0 if objective.higher else 2 * plain.quantities[objective.name].value
            for objective in info.objectives
        }
        moments = opened.history(study, corner)
    shown, last = [], None
    for moment in moments:
        if every or moment.volume != last:
            shown.append(moment)
        last = moment.volume
    if as_json:
        document = {"study": study, "reference": corner, "moments": [asdict(m) for m in shown]}
        print(json.dumps(document, indent=2))
        return
    table = Table(header_style="bold", box=box.SIMPLE_HEAD, pad_edge=False)
    for name in ("#", "by (UTC)", "hypervolume", "of the last", "places on the front"):
        table.add_column(name, justify="left" if name == "by (UTC)" else "right")
    for moment in shown:
        share = f"{100 * moment.volume / last:.1f} %" if last else "-"
        when = moment.time[:19].replace("T", " ")
        row = (str(moment.number), when, f"{moment.volume:.4g}", share, str(moment.places))
        table.add_row(*row)
    out = console()
    out.print(table if shown else "no trial is finished yet.")
    told = ", ".join(f"{name} {value:.4g}" for name, value in corner.items())
    out.print(f"reference point: {told}", style="dim", markup=False)
