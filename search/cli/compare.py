"""`paretoken compare`: two candidates side by side."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any

import typer

from paretoken.search.cli.options import DEFAULT_STORE, AsJson, Format, Out, Store, Study

if TYPE_CHECKING:
    from rich.console import Console

    from paretoken.search.report.comparing import Comparison, Difference

_HELP = "Its number in the study, or its id, or enough of its start."


def run(
    study: Study,
    first: Annotated[str, typer.Argument(metavar="A", help=_HELP)],
    second: Annotated[str, typer.Argument(metavar="B", help=_HELP)],
    format: Format = "",
    out: Out = None,
    store: Store = DEFAULT_STORE,
    as_json: AsJson = False,
) -> None:
    """Compare two candidates: every quantity with the difference B - A and its interval of 95 %.

    Qualities measured with the same seeds and number of samples are compared seed by seed where
    there are three or more (paired); else, and for speeds, the spreads of both means are added in
    squares (independent). Candidates of one behaviour have one number (one class).

    \b
      paretoken compare first 0 3
      paretoken compare first 9e45aee1 3 --json
      paretoken compare first 0 3 --out difference.csv
    """
    from paretoken.cache.store import Store as OpenStore
    from paretoken.search.cli.formats import form
    from paretoken.search.frames import comparison_frame
    from paretoken.search.report.comparing import compare

    shape = form(format, out, as_json)
    with OpenStore.open(store, create=False) as opened:
        found = compare(opened, study, first, second)
    shape.emit(
        table=partial(_print, found),
        document=partial(_document, found),
        frame=partial(comparison_frame, found),
    )


def _document(found: Comparison) -> dict[str, Any]:
    from paretoken.search.report.results import plain

    def told(one: Difference) -> dict[str, Any]:
        interval = None if one.low is None else [one.low, one.high]
        return {
            "name": one.name,
            "unit": one.unit,
            "a": plain(one.a) if one.a else None,
            "b": plain(one.b) if one.b else None,
            "difference": one.change,
            "interval": interval,
            "how": one.how,
            "better": one.better or None,
        }

    return {
        "study": found.info.name,
        "a": {"number": found.a.number, "candidate": found.a.candidate_id},
        "b": {"number": found.b.number, "candidate": found.b.candidate_id},
        "differences": {one.name: told(one) for one in found.differences},
        "settings": {path: {"a": a, "b": b} for path, (a, b) in found.settings.items()},
        "alike": dict(found.alike),
    }


def _print(found: Comparison, out: Console) -> None:
    from paretoken.search.report.wording import heading, number

    names = [f"{side} = #{t.number}" for side, t in (("A", found.a), ("B", found.b))]
    rows = []
    for one in found.differences:
        values = ["-" if q is None else number(q.value, q.spread) for q in (one.a, one.b)]
        change = "-" if one.change is None else f"{one.change:+.4g}"
        interval = "-" if one.low is None else f"[{one.low:+.4g}, {one.high:+.4g}]"
        rows.append([heading(one.name), *values, change, interval, one.better or "-", one.how])
    _table(out, ["", *names, "B - A", "95 %", "better", "how"], rows)
    for aspect, same in found.alike.items():
        what = "the law of what they emit" if aspect == "quality" else "the work they do"
        verdict = "one class" if same else "not known to be the same"
        out.print(f"{aspect}: {what} is {verdict}.", markup=False)
    if found.settings:
        rows = [[path, *("-" if v is None else str(v) for v in both)]
                for path, both in found.settings.items()]  # fmt: skip
        _table(out, ["setting", *names], rows)
    else:
        out.print("all settings are the same.")


def _table(out: Console, columns: list[str], rows: Iterable[list[str]]) -> None:
    from rich import box
    from rich.markup import escape
    from rich.table import Table

    table = Table(header_style="bold", box=box.SIMPLE_HEAD, pad_edge=False)
    for at, column in enumerate(columns):
        table.add_column(column, overflow="fold", justify="left" if at == 0 else "right")
    for row in rows:
        table.add_row(*map(escape, row))
    out.print(table)
