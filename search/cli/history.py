"""`paretoken history`: how the front of a study grew."""

from __future__ import annotations

from dataclasses import asdict
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any

import typer

from paretoken.search.cli.options import DEFAULT_STORE, AsJson, Format, Out, Store, Study

if TYPE_CHECKING:
    from rich.console import Console

    from paretoken.cache.history import Moment
    from paretoken.search.report.growing import Growth


def run(
    study: Study,
    every: Annotated[
        bool, typer.Option("--all", help="Every trial, not only those that changed the front.")
    ] = False,
    format: Format = "",
    out: Out = None,
    store: Store = DEFAULT_STORE,
    as_json: AsJson = False,
) -> None:
    """Print the hypervolume of the front after each trial: what the front dominates.

    It is told over evaluations (measurements of this study's candidates; what the store answered
    costs none), over the seconds since the study began, and over those spent on measuring.

    Counted is what is better than no speed at all and than twice plain decoding's quality loss.
    The numbers are as the store has them now, so later observations move earlier volumes too.

    \b
      paretoken history first
      paretoken history first --all --out growth.csv
    """
    from paretoken.cache.store import Store as OpenStore
    from paretoken.search.cli.formats import form
    from paretoken.search.frames import history_frame
    from paretoken.search.report.growing import growth

    shape = form(format, out, as_json)
    with OpenStore.open(store, create=False) as opened:
        grown = growth(opened, study)
    shown = list(grown.moments) if every else grown.steps()
    shape.emit(
        table=partial(_print, grown, shown),
        document=partial(_document, study, grown, shown),
        frame=partial(history_frame, shown),
    )


def _document(study: str, grown: Growth, shown: list[Moment]) -> dict[str, Any]:
    moments = [asdict(moment) for moment in shown]
    return {"study": study, "reference": grown.reference, "moments": moments}


def _print(grown: Growth, shown: list[Moment], out: Console) -> None:
    from rich import box
    from rich.table import Table

    table = Table(header_style="bold", box=box.SIMPLE_HEAD, pad_edge=False)
    for name in (
        "#", "by (UTC)", "seconds", "measuring s", "evaluations", "hypervolume", "of the last",
        "places on the front",
    ):  # fmt: skip
        table.add_column(name, justify="left" if name == "by (UTC)" else "right")
    last = grown.moments[-1].volume if grown.moments else 0.0
    for moment in shown:
        table.add_row(
            str(moment.number),
            moment.time[:19].replace("T", " "),
            f"{moment.seconds:.1f}",
            f"{moment.measuring_s:.1f}",
            str(moment.evaluations),
            f"{moment.volume:.4g}",
            f"{100 * moment.volume / last:.1f} %" if last else "-",
            str(moment.places),
        )
    out.print(table if shown else "no trial is finished yet.")
    told = ", ".join(f"{name} {value:.4g}" for name, value in grown.reference.items())
    out.print(f"reference point: {told}", style="dim", markup=False)
