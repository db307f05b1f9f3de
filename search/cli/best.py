"""`paretoken best`: the one candidate to take under a condition."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from paretoken.search.cli.options import (
    DEFAULT_STORE,
    AsJson,
    Budget,
    Device,
    Format,
    Knee,
    Maximize,
    Minimize,
    Out,
    Store,
    Study,
    Where,
)

if TYPE_CHECKING:
    from rich.console import Console

    from paretoken.search.report.results import Results
    from paretoken.spaces.records import Trial


def run(
    study: Study,
    where: Where = "",
    maximize: Maximize = "",
    minimize: Minimize = "",
    budget: Budget = None,
    knee: Knee = False,
    device: Device = "",
    format: Format = "",
    out: Out = None,
    store: Store = DEFAULT_STORE,
    as_json: AsJson = False,
) -> None:
    """Print the best candidate that meets a condition: by default the fastest.

    --where takes comparisons of any quantity and any setting with and, or, not, in and parentheses.
    What a candidate does not have is unknown and matches nothing: ask for it with == missing.
    --budget compares with plain decoding of the study. --knee takes, of the front of those that
    meet both, the point from which more speed begins to cost much.

    \b
      paretoken best first --where 'fid <= 60 and speedup >= 2'
      paretoken best first --budget 'fid<=+2%'
      paretoken best first --knee --where 'verifier in ("exact", "grouped")'
      paretoken best first --where 'speedup >= 3' --minimize fid --json
    """
    from paretoken.cache.store import Store as OpenStore
    from paretoken.search.cli.formats import form
    from paretoken.search.frames import trials_frame
    from paretoken.search.query.selecting import Filter
    from paretoken.search.report import choice, results

    shape = form(format, out, as_json)
    wish = choice.Wish(Filter(where, tuple(budget or ())), maximize, minimize, knee)
    with OpenStore.open(store, create=False) as opened:
        chosen, found = choice.best(opened, study, wish, device)
    shape.emit(
        table=partial(_print, chosen, found),
        document=partial(results.as_json, chosen, found),
        frame=partial(trials_frame, found, [chosen]),
    )


def _print(chosen: Trial, results: Results, out: Console) -> None:
    from paretoken.search.cli.tables import legend, table

    study = results.info.name
    out.print(table(results, [chosen], out.width))
    out.print(legend(results, [chosen]), soft_wrap=True)
    short = chosen.candidate_id[:12]
    out.print(
        f"\nnext:  paretoken export {study} --candidate {short} --out tuned.json\n"
        f"       paretoken show {short}",
        markup=False,
        soft_wrap=True,
    )
