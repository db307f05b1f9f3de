"""The search loop: propose, canonicalise, look up, measure what is new, tell; confirm the front.

Every finished measurement is committed at once. Whatever kills the process, `resume` continues:
what was measured is found by its key, and the algorithm is told the study's history.
"""

from __future__ import annotations

import time
import traceback
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from paretoken.cache.store import Store
from paretoken.search.algorithm import Algorithm, Losses, Told
from paretoken.search.confirm import confirm, to_confirm
from paretoken.search.decisions import Decisions
from paretoken.search.measuring import Measurer, Reuse
from paretoken.search.progress import Watcher
from paretoken.search.running import Running
from paretoken.spaces.candidate import from_tree, to_tree
from paretoken.spaces.canonical import canonical
from paretoken.spaces.component import Component
from paretoken.spaces.errors import BadInput, MeasurementFailed
from paretoken.spaces.objectives import Objective
from paretoken.spaces.plugins import KINDS
from paretoken.spaces.records import Failure, StudyInfo, Trial
from paretoken.spaces.space import Space, load, parse_setting
from paretoken.spaces.workload import Workload


@dataclass(frozen=True)
class Plan:
    """What the user asked for; see `paretoken search --help`.

    trials: candidates in all, plain decoding included; repeated proposals are not counted.
    minutes: for this call; no candidate is begun after it. reuse: when the store answers instead of
    a measurement. confirm: whether the front is measured afresh at the end, within the minutes.
    """

    study: str
    workload: str
    space: str | None = None
    settings: tuple[str, ...] = ()
    algorithm: str = "nsga2"
    trials: int | None = 30
    minutes: float | None = None
    seed: int = 0
    options: Mapping[str, Any] = field(default_factory=dict)
    resume: bool = False
    reuse: Reuse = field(default_factory=Reuse)
    confirm: bool = True


@dataclass(frozen=True)
class Outcome:
    """A search that came to its end. unconfirmed: points of the front that were not measured
    afresh. recording_seconds, law_seconds, measured_seconds: spent in this call on recording rows
    of the model, on law fingerprints and on measuring. near_ties: fingerprints that rounding moved
    on one of the two grids.
    """

    info: StudyInfo
    unconfirmed: int
    recording_seconds: float
    law_seconds: float
    measured_seconds: float
    near_ties: int


def search(plan: Plan, store: Store, watch: Watcher) -> Outcome:
    """Search until the plan's limits; an interrupted or finished study is continued by `resume`.

    Raises BadInput for a plan that cannot be carried out, before anything is stored, and
    MeasurementFailed if plain decoding, to which everything is compared, cannot be measured.
    """
    deadline = time.monotonic() + 60 * plan.minutes if plan.minutes else None
    info = store.study(plan.study) if plan.resume else _new_study(plan, store)
    workload: Workload = KINDS["workloads"].load(info.workload).open(**info.options)
    info = replace(info, objectives=info.objectives or workload.objectives)
    decisions = Decisions(Space.from_json(info.space))
    algorithm: Algorithm = KINDS["algorithms"].load(info.algorithm)(
        decisions, info.objectives, info.seed
    )
    if not plan.resume:
        store.create_study(info)
    trials = store.trials(info.name)
    if trials and trials[0].failure is not None:
        raise MeasurementFailed(
            trials[0].failure.reason,
            f"plain decoding failed in study {info.name!r}, so it compares nothing: mend the cause "
            "and begin a study of another name.",
        )
    algorithm.restore(_told(t, info.objectives) for t in trials if t.number > 0)
    study = Running(info, store, watch, plan.trials, deadline, plan.confirm)
    measurer = Measurer(workload, store, info.name, info.seed, plan.reuse, study.say)

    def measure(number: int, candidate: Component, resumed: bool = False) -> Trial:
        study.begin(number)
        try:
            found = measurer.measure(number, candidate, resumed)
            store.finish(
                info.name, number, found["quality"].id, found["speed"].id,
                {aspect: how.origin for aspect, how in found.items()},
            )  # fmt: skip
        except Exception as error:  # anything may go wrong inside somebody's plug-in
            if isinstance(error, BadInput):
                raise  # the user's mistake, the same for every candidate
            store.fail(info.name, number, _failure(error))
            if number == 0:
                raise MeasurementFailed(
                    _failure(error).reason,
                    f"plain decoding could not be measured, so nothing can be compared: {error}",
                ) from error
        return study.ended(number)

    for trial in trials:
        study.known(trial)
    # Proposed, but not finished. Only the first of them can have been measured in part.
    for waiting, trial in enumerate([trial for trial in trials if trial.state == "pending"]):
        finished = measure(trial.number, from_tree(trial.tree), resumed=waiting == 0)
        if trial.number > 0:
            algorithm.tell(trial.numbers, *_answer(finished, info.objectives))
    if not trials:
        plain = canonical(workload.plain())
        store.propose(info.name, 0, to_tree(plain), ())
        measure(0, plain)
    number = len(trials) or 1
    while study.goes_on() and (numbers := algorithm.ask()) is not None:
        candidate = canonical(from_tree(decisions.tree(numbers)))
        tree = to_tree(candidate)
        study.repeats = study.repeats + 1 if study.has(tree) else 0
        store.propose(info.name, number, tree, numbers)
        finished = measure(number, candidate)
        algorithm.tell(numbers, *_answer(finished, info.objectives))
        number += 1
    if plan.confirm:
        confirm(study, store, measurer)
    unconfirmed = len(to_confirm(store, info.name))
    return Outcome(
        info,
        unconfirmed,
        measurer.recording_seconds,
        measurer.law_seconds,
        measurer.measured_seconds,
        measurer.near_ties,
    )


def _new_study(plan: Plan, store: Store) -> StudyInfo:
    """The study to be stored; every name and value of the plan is checked first."""
    if any(info.name == plan.study for info, _ in store.studies()):
        raise BadInput(
            f"there is a study {plan.study!r} already: continue it with --resume, or choose "
            "another name with --study."
        )
    plugin = KINDS["workloads"].load(plan.workload)
    KINDS["algorithms"].load(plan.algorithm)
    space = load(plan.space or plugin.space)
    for setting in plan.settings:
        space = space.narrow(*parse_setting(setting))
    if "batch" in plan.options:
        space = space.fix("runtime.batch", plan.options["batch"])
    return StudyInfo(
        plan.study, plan.workload, plan.algorithm, plan.seed, space.to_json(), (), plan.options, ""
    )


def _failure(error: Exception) -> Failure:
    """Why a candidate has no score, as a record."""
    told = "".join(traceback.format_exception(error))
    if isinstance(error, MeasurementFailed):
        return Failure(error.reason, error.detail, told)
    if type(error).__name__ == "OutOfMemoryError" or isinstance(error, MemoryError):
        return Failure("out-of-memory", str(error), told)
    return Failure(f"error-{type(error).__name__}", str(error), told)


def _losses(trial: Trial, objectives: tuple[Objective, ...]) -> Losses:
    return tuple(o.loss(trial.quantities[o.name].value) for o in objectives)


def _answer(trial: Trial, objectives: tuple[Objective, ...]) -> tuple[Losses | None, str]:
    """What an algorithm is told of a finished trial."""
    if trial.state == "done":
        return _losses(trial, objectives), ""
    return None, trial.failure.reason if trial.failure else "failed"


def _told(trial: Trial, objectives: tuple[Objective, ...]) -> Told:
    """A stored trial as an algorithm's history; a pending one is still open."""
    if trial.state == "pending":
        return Told(trial.numbers)
    return Told(trial.numbers, *_answer(trial, objectives))
