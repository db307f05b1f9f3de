"""`paretoken export-study`: a whole study for another program."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from paretoken.search.cli.options import DEFAULT_STORE, AsJson, Device, Store, Study
from paretoken.spaces.errors import BadInput


def run(
    study: Study,
    out: Annotated[
        Path, typer.Option("--out", metavar="FILE.db", help="The SQLite file to write.")
    ] = Path("optuna.db"),
    force: Annotated[
        bool, typer.Option("--force", help="Overwrite what is there already.")
    ] = False,
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
    """Write a study as an Optuna storage, for optuna-dashboard and everything else that reads one.

    Settings are parameters under their paths, objectives keep their directions, failed candidates
    and those stopped at a rung are FAIL with the reason; spreads, all other numbers, the id of the
    candidate and the keys of its classes are user attributes. Optuna takes some forty trials a
    second. `export` writes one candidate for an engine.

    \b
      paretoken export-study first --out optuna.db
      pip install optuna-dashboard && optuna-dashboard sqlite:///optuna.db
    """
    from rich.progress import Progress

    from paretoken.cache.store import Store as OpenStore
    from paretoken.search.cli.tables import console
    from paretoken.search.optuna_storage import write_storage
    from paretoken.search.report.results import read

    if out.exists() and not force:
        raise BadInput(f"{out} exists already: choose another --out, or overwrite with --force.")
    shown = console(error=True)
    with (
        OpenStore.open(store, create=False) as opened,
        Progress(console=shown, transient=True, disable=not shown.is_terminal) as progress,
    ):
        results = read(opened, study, objectives, device=device)
        bar = progress.add_task("writing", total=None)

        def report(done: int, of: int) -> None:
            progress.update(bar, completed=done, total=of)

        count = write_storage(out, opened, results, report)
    if as_json:
        print(json.dumps({"out": str(out), "study": study, "trials": count}))
    else:
        print(f"wrote {out}: {count} trials, {len(results.front)} on the front")
        print(f"\nuse:\npip install optuna-dashboard && optuna-dashboard sqlite:///{out}")
