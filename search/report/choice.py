"""The one candidate to take: by a condition and an aim, at the knee, or by its id."""

from __future__ import annotations

from dataclasses import dataclass, replace

from paretoken.cache.front import pareto_front
from paretoken.cache.knee import knee
from paretoken.cache.store import Store
from paretoken.search.query.selecting import EVERYBODY, Filter, NothingMatches, nothing_fits
from paretoken.search.report.devices import chosen
from paretoken.search.report.results import Results, other_device, read, speed_first
from paretoken.search.report.wording import stopped
from paretoken.spaces.errors import BadInput, UnknownName
from paretoken.spaces.objectives import Objective
from paretoken.spaces.records import Trial


@dataclass(frozen=True)
class Wish:
    """What the best is: of those that fit, the largest or least of a quantity, or the knee.

    By default the fastest. Ties go to the objectives in their order, then to the earlier trial.
    """

    fitting: Filter = EVERYBODY
    maximize: str = ""
    minimize: str = ""
    knee: bool = False

    def __post_init__(self) -> None:
        if self.maximize and self.minimize:
            raise BadInput("choose one of --maximize and --minimize: a best needs one direction.")
        if self.knee and (self.maximize or self.minimize):
            raise BadInput(
                "--knee weighs all objectives: leave out --maximize and --minimize, or it."
            )


def best(
    store: Store, study: str, wish: Wish | None = None, device: str = ""
) -> tuple[Trial, Results]:
    """The trial to take, and the results of its study; raises NothingMatches.

    It is found inside the database, and of a large study no more than the front is read. device:
    see `results.read`.
    """
    wish = wish or Wish()
    here = chosen(store.devices(study), device)
    elsewhere = other_device(store, study, here)
    trial = _of_knee(store, study, wish, elsewhere) if wish.knee else None
    trial = trial or _extreme(store, study, wish, elsewhere)
    results = read(store, study, front_only=True, device=here)
    if trial.number not in {known.number for known in results.trials}:
        results = replace(results, trials=(*results.trials, trial))
    return trial, results


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


def _extreme(store: Store, study: str, wish: Wish, elsewhere: str) -> Trial:
    condition = wish.fitting.condition(store, study, elsewhere)
    objectives = speed_first(store.study(study).objectives)
    name = wish.maximize or wish.minimize or objectives[0].name
    known = store.numbers(study)
    if known and name not in known:
        raise UnknownName("measured quantity", name, known)
    own = next((objective for objective in objectives if objective.name == name), None)
    higher = bool(wish.maximize) or (not wish.minimize and own is not None and own.higher)
    found = store.best(study, Objective(name, "", higher, ""), condition, elsewhere)
    if found is not None:
        return found
    fitting = len(store.matching(study, condition, elsewhere))
    if fitting:
        raise NothingMatches(
            f"none of the {fitting} trials that meet the condition has {name!r}: take another "
            "quantity, or another --device."
        )
    raise nothing_fits(store, study, condition, wish.fitting.said, elsewhere)


def _of_knee(store: Store, study: str, wish: Wish, elsewhere: str) -> Trial:
    condition = wish.fitting.condition(store, study, elsewhere)
    objectives = speed_first(store.study(study).objectives)
    front = pareto_front(store.front(study, condition, elsewhere), objectives)
    if not front:
        raise nothing_fits(store, study, condition, wish.fitting.said, elsewhere)
    return knee(front, objectives)[0]
