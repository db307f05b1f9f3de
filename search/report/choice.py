"""The one candidate to take: by a condition, by an aim, or by its id."""

from __future__ import annotations

import math

from paretoken.cache.store import Store
from paretoken.search.query import NothingMatches, parse, select
from paretoken.search.report.devices import chosen, others_told
from paretoken.search.report.results import Results, first_device, loss, read, speed_first, value
from paretoken.search.report.wording import stopped
from paretoken.spaces.errors import BadInput, UnknownName
from paretoken.spaces.objectives import Objective
from paretoken.spaces.records import Trial


def best(
    store: Store,
    study: str,
    where: str = "",
    maximize: str = "",
    minimize: str = "",
    device: str = "",
) -> tuple[Trial, Results]:
    """The trial that `choose` takes, and results to show it with. device: see `read`.

    A condition of nothing but bounds on numbers is answered inside the database.
    """
    bounds = parse(where).bounds() if where.strip() else []
    info = store.study(study)
    devices = store.devices(study)
    here = chosen(devices, device)
    in_store = here == first_device(store, study)
    if bounds is not None and in_store and not (maximize and minimize):
        name = maximize or minimize or speed_first(info.objectives)[0].name
        own = next((o for o in info.objectives if o.name == name), None)
        higher = bool(maximize) or (not minimize and (own is None or own.higher))
        found = store.best(study, Objective(name, "", higher, ""), bounds)
        if found is not None:
            front = {trial.number for trial in store.front(study)}
            shown = tuple(number for number in front if number == found.number)
            left_out = others_told(devices, here)
            judged = Results(
                info, speed_first(info.objectives), (found,), shown, (), left_out, device=here
            )
            return found, judged
    results = read(store, study, device=device)
    return choose(results, where, maximize, minimize), results


def choose(results: Results, where: str = "", maximize: str = "", minimize: str = "") -> Trial:
    """The one trial to take: the best of those that meet `where`, by default the fastest.

    Ties go to the objectives in their order, then to the earlier trial. Raises NothingMatches.
    """
    if maximize and minimize:
        raise BadInput("choose one of --maximize and --minimize: a best needs one direction.")
    found = select(where, results.trials)
    first = results.objectives[0]
    if maximize or minimize:
        name = maximize or minimize
        known = {name for trial in results.done for name in trial.quantities}
        if name not in known:
            raise UnknownName("measured quantity", name, known)
        first = Objective(name, "", bool(maximize), "")
    having = [trial for trial in found if math.isfinite(value(trial, first.name))]
    if not having:
        raise NothingMatches(
            f"none of the {len(found)} trials that meet the condition has {first.name!r}."
        )
    order = (first, *results.objectives)
    return min(having, key=lambda t: (*(loss(t, objective) for objective in order), t.number))


def by_id(results: Results, prefix: str) -> Trial:
    """The finished trial whose candidate id starts so; raises UnknownName or BadInput."""
    found = [trial for trial in results.done if trial.candidate_id.startswith(prefix)]
    halted = [trial for trial in results.stopped if trial.candidate_id.startswith(prefix)]
    if halted and not found:
        raise BadInput(
            f"candidate {prefix!r}, number {halted[0].number}, was {stopped(halted[0])}, because "
            "another was better in everything: it has no quality that compares with the others'. "
            "Take one that 'paretoken front' lists, or search without --rungs."
        )
    if not found:
        way = "'paretoken front STUDY --all --json' tells their ids."
        raise UnknownName("finished candidate of this study", prefix, (), way)
    if len({trial.candidate_id for trial in found}) > 1:
        raise BadInput(f"{len(found)} candidates of this study start with {prefix!r}: write more.")
    return found[0]
