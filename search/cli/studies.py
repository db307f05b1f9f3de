"""`paretoken studies`: what the store holds."""

from __future__ import annotations

import json

from paretoken.search.cli.options import DEFAULT_STORE, AsJson, Store


def run(store: Store = DEFAULT_STORE, as_json: AsJson = False) -> None:
    """List the studies of the store.

    \b
      paretoken studies
      paretoken studies --store sqlite:///shared.db --json
    """
    from rich import box
    from rich.table import Table

    from paretoken.cache.store import Store as OpenStore
    from paretoken.cache.studies import STATES
    from paretoken.search.cli.tables import console

    with OpenStore.open(store, create=False) as opened:
        found = opened.studies()
    if as_json:
        listed = [
            {
                "name": info.name,
                "workload": info.workload,
                "algorithm": info.algorithm,
                "seed": info.seed,
                "objectives": [objective.name for objective in info.objectives],
                "options": dict(info.options),
                "rungs": list(info.rungs),
                "created": info.created,
                "trials": dict(counts),
            }
            for info, counts in found
        ]
        print(json.dumps(listed, indent=2, default=str))
        return
    out = console()
    if not found:
        out.print("the store holds no study yet: paretoken search WORKLOAD --study NAME makes one.")
        return
    table = Table(header_style="bold", box=box.SIMPLE_HEAD, pad_edge=False)
    for name in ("study", "workload", "algorithm", "objectives", *STATES, "created"):
        table.add_column(name, justify="right" if name in STATES else "left")
    for info, counts in found:
        table.add_row(
            info.name,
            info.workload,
            info.algorithm,
            ", ".join(objective.name for objective in info.objectives),
            *(str(counts[state]) for state in STATES),
            info.created[:19].replace("T", " "),
        )
    out.print(table, markup=False)
