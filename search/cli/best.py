"""`paretoken best`: the one candidate to take under a condition."""

from __future__ import annotations

import json

from paretoken.search.cli.options import (
    DEFAULT_STORE,
    AsJson,
    Device,
    Maximize,
    Minimize,
    Store,
    Study,
    Where,
)


def run(
    study: Study,
    where: Where = "",
    maximize: Maximize = "",
    minimize: Minimize = "",
    device: Device = "",
    store: Store = DEFAULT_STORE,
    as_json: AsJson = False,
) -> None:
    """Print the best candidate that meets a condition: by default the fastest.

    \b
      paretoken best first --where 'fid <= 60 and speedup >= 2'
      paretoken best first --where 'verifier == "exact"' --maximize images_per_s
      paretoken best first --where 'speedup >= 3' --minimize fid --json
    """
    from paretoken.cache.store import Store as OpenStore
    from paretoken.search.cli.tables import console, legend, table
    from paretoken.search.report.choice import best
    from paretoken.search.report.results import as_json as listed

    with OpenStore.open(store, create=False) as opened:
        chosen, results = best(opened, study, where, maximize, minimize, device)
    if as_json:
        print(json.dumps(listed(chosen, results), indent=2, allow_nan=False))
        return
    out = console()
    out.print(table(results, [chosen], out.width))
    out.print(legend(results, [chosen]), soft_wrap=True)
    short = chosen.candidate_id[:12]
    out.print(
        f"\nnext:  paretoken export {study} --candidate {short} --out tuned.json\n"
        f"       paretoken show {short}",
        markup=False,
        soft_wrap=True,
    )
