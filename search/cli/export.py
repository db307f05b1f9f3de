"""`paretoken export`: write the chosen candidate for a target."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from paretoken.search.cli.options import (
    DEFAULT_STORE,
    AsJson,
    Device,
    Maximize,
    Minimize,
    Store,
    Study,
    Where,
    write,
)


def run(
    study: Study,
    where: Where = "",
    maximize: Maximize = "",
    minimize: Minimize = "",
    device: Device = "",
    candidate: Annotated[
        str,
        typer.Option(
            "--candidate", metavar="ID", help="This candidate (id or its start), not the best."
        ),
    ] = "",
    to: Annotated[
        str,
        typer.Option("--to", metavar="TARGET", help="The target; 'plugins exporters' lists them."),
    ] = "json",
    out: Annotated[
        Path | None,
        typer.Option("--out", metavar="FILE", help="The file to write. [default: tuned.json]"),
    ] = None,
    force: Annotated[
        bool, typer.Option("--force", help="Overwrite the file if it exists.")
    ] = False,
    store: Store = DEFAULT_STORE,
    as_json: AsJson = False,
) -> None:
    """Write a candidate's settings, by default those of the best that meets --where.

    Beside the settings the file keeps the study, what was measured with its spread, the device,
    the software and the date. It is written whole or not at all.

    \b
      paretoken export first --where 'fid <= 60 and speedup >= 2' --to json --out tuned.json
      paretoken export first --candidate 3f9a1c --out tuned.json --force
    """
    from datetime import UTC, datetime

    from paretoken.cache.store import Store as OpenStore
    from paretoken.search.exporters import Chosen
    from paretoken.search.report import results as judged
    from paretoken.spaces.errors import BadInput, Unreadable
    from paretoken.spaces.plugins import KINDS

    exporter = KINDS["exporters"].load(to)
    if candidate and (where or maximize or minimize):
        raise BadInput("--candidate names one already: leave out --where, --maximize, --minimize.")
    path = out or Path(f"tuned{exporter.suffix}")
    with OpenStore.open(store, create=False) as opened:
        results = judged.read(opened, study, device=device)
        if candidate:
            chosen = judged.by_id(results, candidate)
        else:
            chosen = judged.choose(results, where, maximize, minimize)
        date = datetime.now(UTC).isoformat(timespec="seconds")
        text = exporter.render(Chosen(results.info, chosen, date))
        write(path, text.encode(), force=force)
        try:
            opened.record_export(study, chosen.candidate_id, to, str(path))
        except Unreadable as error:  # somebody else's store, say: the settings are written
            print(f"note: the store does not know of this export: {error}", file=sys.stderr)
    if as_json:
        print(json.dumps({"out": str(path), **judged.as_json(chosen, results)}, allow_nan=False))
    else:
        print(f"wrote {path}: number {chosen.number}, {judged.told(chosen, results)}")
