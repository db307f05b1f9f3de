"""`search` from Python: as on the command line, and what it finds is a `Study`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from paretoken.cache.store import Store
from paretoken.search import loop
from paretoken.search.cli.live import watching
from paretoken.search.cli.tables import console
from paretoken.search.measuring import Reuse
from paretoken.search.progress import Watcher
from paretoken.search.report.results import read
from paretoken.search.study import DEFAULT_STORE, Study
from paretoken.search.workers import Cluster


def search(
    workload: str,
    study: str,
    *,
    store: str = DEFAULT_STORE,
    space: str | None = None,
    settings: Sequence[str] | Mapping[str, Any] = (),
    algorithm: str = "nsga2",
    trials: int | None = None,
    minutes: float | None = None,
    resume: bool = False,
    seed: int = 0,
    rungs: Sequence[int] = (),
    observations: int = 2,
    audit: float = 0.05,
    reuse: bool = True,
    confirm: bool = True,
    race: int = 0,
    cluster: Cluster | None = None,
    watch: Watcher | None = None,
    **options: Any,
) -> Study:
    """Search as `paretoken search` does, and return the study; every name is as there.

    settings: what narrows the space, as after `--set`, or values by path. options: of the workload
    (samples, batch, device, prompts, …). watch: told every moment of the search; by default a line
    for each trial, or a live picture, goes to standard error. Ctrl-C ends it as an exception, and
    what was measured is kept: `resume=True` goes on. Raises BadInput before anything is stored.
    """
    plan = loop.Plan(
        study=study,
        workload=workload,
        space=space,
        settings=tuple(_narrowing(settings)),
        algorithm=algorithm,
        trials=loop.Plan.trials if trials is None and minutes is None else trials,
        minutes=minutes,
        seed=seed,
        options={name: value for name, value in options.items() if value is not None},
        resume=resume,
        reuse=Reuse(observations, audit, share=reuse),
        confirm=confirm,
        rungs=tuple(rungs),
        cluster=cluster,
        race=race,
    )
    opened = Store.open(store)
    try:
        if watch is not None:
            loop.search(plan, opened, watch)
        else:
            so_far = partial(read, opened, study, front_only=True)
            with watching(console(error=True), partial(opened.study, study), so_far) as watcher:
                loop.search(plan, opened, watcher)
        return Study(opened, study)
    except BaseException:
        opened.close()
        raise


def _narrowing(settings: Sequence[str] | Mapping[str, Any]) -> list[str]:
    """As after `--set`: a path, and the values that it may have."""
    if not isinstance(settings, Mapping):
        return list(settings)
    found = []
    for path, values in settings.items():
        several = values if isinstance(values, list | tuple) else [values]
        found.append(f"{path}={','.join(_written(value) for value in several)}")
    return found


def _written(value: Any) -> str:
    return str(value).lower() if value is None or isinstance(value, bool) else str(value)
