"""`paretoken report`: a study as one page that works anywhere."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from paretoken.search.cli.options import DEFAULT_STORE, AsJson, Device, Store, Study, write


def run(
    study: Study,
    out: Annotated[
        Path, typer.Option("--out", metavar="FILE.html", help="The page to write.")
    ] = Path("report.html"),
    objectives: Annotated[
        str,
        typer.Option(
            "--objectives", metavar="NAME,NAME", help="Judge by these instead of the study's own."
        ),
    ] = "",
    device: Device = "",
    store: Store = DEFAULT_STORE,
    as_json: AsJson = False,
) -> None:
    """Write the study as one self-contained page: what was found, and what it rests on.

    The front with error bars for each batch size and device, which settings matter, all settings
    and numbers side by side, samples beside plain decoding's, what hashing spared, failures.
    The page needs no network: it can be mailed, archived, printed and opened on a phone. An
    existing file is replaced. `paretoken serve` shows the same page while a search runs.

    \b
      paretoken report first --out report.html
      paretoken report first --objectives kid,target_forwards --out work.html
    """
    from paretoken.cache.store import Store as OpenStore
    from paretoken.search.report.page import render
    from paretoken.search.report.view import look

    with OpenStore.open(store, create=False) as opened:
        view = look(opened, study, objectives, device)
    write(out, render(view).encode())
    results = view.results
    if as_json:
        print(json.dumps({"out": str(out), "candidates": len(results.done)}))
    else:
        print(f"wrote {out}: {len(results.done)} candidates, {len(results.front)} on the front")
