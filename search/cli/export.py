"""`paretoken export`: write the chosen candidate in the words of an engine."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from paretoken.search.cli.options import (
    DEFAULT_STORE,
    AsJson,
    Budget,
    Device,
    Knee,
    Maximize,
    Minimize,
    Store,
    Study,
    Where,
)
from paretoken.spaces.plugins import KINDS

if TYPE_CHECKING:
    from paretoken.search.exporting.artefact import Artefact
    from paretoken.search.exporting.refusal import Refused
    from paretoken.search.report.results import Results
    from paretoken.spaces.records import Trial

_TARGETS = ", ".join(name.replace("_", "-") for name in KINDS["exporters"].names())


def run(
    study: Study,
    where: Where = "",
    maximize: Maximize = "",
    minimize: Minimize = "",
    budget: Budget = None,
    knee: Knee = False,
    device: Device = "",
    candidate: Annotated[
        str,
        typer.Option(
            "--candidate", metavar="ID", help="This candidate (id or its start), not the best."
        ),
    ] = "",
    to: Annotated[
        str,
        typer.Option("--to", metavar="ENGINE", help=f"Whom it is written for: {_TARGETS}."),
    ] = "json",
    by_batch: Annotated[
        bool,
        typer.Option(
            "--by-batch",
            help="A draft length for each batch size, from all points measured of that family.",
        ),
    ] = False,
    allow_unverified: Annotated[
        bool,
        typer.Option(
            "--allow-unverified",
            help="Write what the engine does nearly, but not just, as it was measured.",
        ),
    ] = False,
    check: Annotated[
        bool,
        typer.Option("--check", help="Let the engine itself, installed here, read it first."),
    ] = False,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            metavar="FOLDER",
            help="Where to write: a folder, for json a file. [default: tuned-ENGINE; tuned.json]",
            show_default=False,
        ),
    ] = None,
    force: Annotated[
        bool, typer.Option("--force", help="Overwrite what was exported there before.")
    ] = False,
    store: Store = DEFAULT_STORE,
    as_json: AsJson = False,
) -> None:
    """Write a candidate for an engine, by default the best that meets --where and --budget.

    With it goes paretoken_export.json: the settings, the study, what was measured with its spread,
    fingerprints, device, software and date, the version of the engine whose rules were followed,
    and what to know about them. Everything is written, or nothing is.

    What an engine cannot express is refused with a code and the reason (exit code 3), and the
    nearest candidate on the front that it can express is named.

    \b
      paretoken export first --where 'fid <= 60 and speedup >= 2' --to json --out tuned.json
      paretoken export words --where 'agreement >= 0.98' --to vllm --out serving
      paretoken export words --candidate 3f9a1c --to llama-cpp --allow-unverified
      paretoken export words --to tensorrt-llm --by-batch
    """
    from paretoken.cache.store import Store as OpenStore
    from paretoken.search.exporting.handing_out import HandingOut, check_choice
    from paretoken.search.exporting.refusal import Refused
    from paretoken.search.query.selecting import Filter
    from paretoken.search.report import choice
    from paretoken.search.report import results as judged

    exporter = KINDS["exporters"].load(to.replace("-", "_"))
    check_choice(candidate, (where, budget, maximize, minimize, knee))
    wish = choice.Wish(Filter(where, tuple(budget or ())), maximize, minimize, knee)
    with OpenStore.open(store, create=False) as opened:
        if candidate:
            results = judged.read(opened, study, device=device)
            chosen = choice.by_id(results, candidate)
        else:
            chosen, results = choice.best(opened, study, wish, device)
            if by_batch and results.size:  # the table is made of all that was measured
                results = judged.read(opened, study, device=device)
        handing = HandingOut(opened, results, to, by_batch, allow_unverified)
        try:
            artefact = handing.express(chosen)
        except Refused as refused:
            again = ["--to", to, *(["--by-batch"] if by_batch else [])]
            again += ["--allow-unverified"] if allow_unverified else []
            _refuse(refused, results, chosen, again, handing.express, as_json)
        if check:
            handing.check(artefact)
        path = handing.write(artefact, chosen, out, force)
    use = artefact.use.replace("FOLDER", str(path))
    if as_json:
        told = {
            "out": str(path),
            "engine": str(exporter.engine),
            "notes": [note.plain() for note in artefact.notes],
            "use": use,
            **judged.as_json(chosen, results),
        }
        print(json.dumps(told, allow_nan=False))
        return
    print(f"wrote {path}: number {chosen.number}, {judged.told(chosen, results)}")
    for note in artefact.notes:
        print(f"note: {note}")
    print(f"\nuse:\n{use}")


def _refuse(
    refused: Refused,
    results: Results,
    chosen: Trial,
    options: list[str],
    made: Callable[[Trial], Artefact],
    as_json: bool,
) -> NoReturn:
    """Tell what stands in the way, and the way out; raises Refused with both."""
    from paretoken.search.exporting.nearest import nearest
    from paretoken.search.report import results as judged

    other = nearest(results, chosen, made)
    other_way = "try without --by-batch" if "--by-batch" in options else "--to json always can"
    command, way = "", f"nothing on the front can be expressed so; {other_way}"
    if other is not None:
        short = other.candidate_id[:12]
        command = shlex.join(
            ["paretoken", "export", results.info.name, "--candidate", short, *options]
        )
        numbers = judged.told(other, results)
        way = f"nearest on the front is number {other.number}, {numbers}:\n  {command}"
    if as_json:
        told = {
            "engine": refused.engine,
            "number": chosen.number,
            "candidate": chosen.candidate_id,
            "refused": [finding.plain() for finding in refused.findings],
            "nearest": None if other is None else judged.as_json(other, results),
            "command": command or None,
        }
        print(json.dumps(told, allow_nan=False))
    raise refused.with_way(way)
