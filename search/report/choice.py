"""The one candidate to take: by a condition and an aim, at the knee, or by its name."""

from __future__ import annotations

from collections.abc import Sequence
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

_SOME = 20  # numbers that an error names


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


def named(trials: Sequence[Trial], text: str) -> Trial:
    """The finished trial of that number, or whose candidate's id starts so.

    A number goes before an id that starts with the same digits. Raises UnknownName, or BadInput
    with the reason where the trial failed, was stopped or has not ended.
    """
    found = [t for t in trials if text.isascii() and text.isdigit() and t.number == int(text[:18])]
    found = found or [t for t in trials if text and t.candidate_id.startswith(text.lower())]
    done = [trial for trial in found if trial.state == "done"]
    if len({trial.candidate_id for trial in done}) > 1:
        ids = ", ".join(sorted({trial.candidate_id[:12] for trial in done})[:4])
        raise BadInput(f"several candidates of this study start with {text!r}: {ids}, …")
    if done:
        return done[0]
    if found:
        raise BadInput(_unfinished(text, found[-1]))
    numbers = [str(trial.number) for trial in trials if trial.state == "done"][:_SOME]
    way = "Name a number or an id: 'paretoken front STUDY --all' tells them."
    raise UnknownName("finished trial of this study", text, numbers, way)


def _unfinished(text: str, trial: Trial) -> str:
    """Why a trial has no numbers that compare with others', and what to do."""
    called = f"candidate {text!r}, number {trial.number},"
    other = "Take one that 'paretoken front' lists"
    if trial.state == "stopped":
        return (
            f"{called} was {stopped(trial)}, because another was better in everything: it has no "
            f"quality that compares with the others'. {other}, or search without --rungs."
        )
    if trial.failure is not None:
        return (
            f"{called} failed ({trial.failure.reason}: {trial.failure.detail}), so it has no "
            f"numbers. {other}."
        )
    return f"{called} is not finished yet: search --resume goes on with it. {other}."


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
