"""The search loop: propose, canonicalise, look up, measure what is new, tell; confirm the front.

Proposals are made as long as there are workers for them, and told in the order in which they end;
one worker, this process, makes that one after the other. Every finished measurement is committed
at once. Whatever kills the process, `resume` continues: what was measured is found by its key, and
the algorithm is told the study's history.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from paretoken.cache.digest import candidate_id
from paretoken.cache.store import Store
from paretoken.search import race
from paretoken.search.algorithm import Algorithm
from paretoken.search.answers import answer, told
from paretoken.search.confirm import confirm, to_confirm
from paretoken.search.decisions import Decisions
from paretoken.search.in_flight import InFlight
from paretoken.search.measuring import Measurer, Reuse
from paretoken.search.progress import Progress, Watcher
from paretoken.search.rungs import Rungs, check_last, checked, same_rungs
from paretoken.search.running import Running
from paretoken.search.trying import Trying
from paretoken.search.workers import Cluster, InProcess, Workers
from paretoken.spaces.canonical import canonical_tree
from paretoken.spaces.errors import BadInput, MeasurementFailed
from paretoken.spaces.plugins import KINDS
from paretoken.spaces.records import PLAIN, StudyInfo, Trial
from paretoken.spaces.space import Space, load, parse_setting


@dataclass(frozen=True)
class Plan:
    """What the user asked for; see `paretoken search --help`.

    trials: candidates in all, plain decoding included; repeated proposals are not counted.
    minutes: for this call; no candidate is begun after it. reuse: when the store answers instead of
    a measurement. confirm: whether the front is measured afresh at the end, within the minutes.
    rungs: rising numbers of samples, the last the study's own; a resumed study has its own.
    cluster: who measures, several candidates at a time; this process alone where there is none.
    race: so many proposals, the first ones, are raced before any is measured; see `search.race`.
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
    rungs: Rungs = ()
    cluster: Cluster | None = None
    race: int = 0


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
    MeasurementFailed if number 0, to which everything is compared, cannot be measured.
    """
    deadline = time.monotonic() + 60 * plan.minutes if plan.minutes else None
    info = store.study(plan.study) if plan.resume else _new_study(plan, store)
    same_rungs(info, plan.rungs)
    if plan.race:
        race.check(info)
    trials = store.trials(info.name) if plan.resume else []
    if trials and trials[0].failure is not None:
        raise MeasurementFailed(
            trials[0].failure.reason,
            f"{info.baseline}, number 0, failed in study {info.name!r}, so it compares nothing: "
            "mend the cause and begin a study of another name.",
        )
    workers = _workers(plan, _with_artefacts(info, store), trials, watch)
    try:
        check_last(info.rungs, workers.about.samples)
        info = replace(info, objectives=info.objectives or workers.about.objectives)
        study = Running(info, store, watch, plan.trials, deadline, plan.confirm)
        return _search(plan, store, study, trials, workers)
    finally:
        workers.close()


def _search(
    plan: Plan, store: Store, study: Running, trials: list[Trial], workers: Workers
) -> Outcome:
    info, here = study.info, workers.about.environment
    decisions = Decisions(Space.from_json(info.space))
    algorithm: Algorithm = KINDS["algorithms"].load(info.algorithm)(
        decisions, info.objectives, info.seed
    )
    if not plan.resume:
        store.create_study(info)
    algorithm.restore(told(t, info.objectives, here) for t in trials if t.number > 0)
    measurer = Measurer(workers, store, info.name, info.seed, plan.reuse)
    attempt = Trying(store, study, measurer)
    for trial in trials:
        if trial.state != "pending":
            attempt.known(trial)
    if not trials:
        store.propose(info.name, 0, workers.about.plain, ())
    if not trials or trials[0].state == "pending":
        plain = dict(trials[0].tree) if trials else workers.about.plain
        study.begin(candidate_id(plain))
        attempt(0, plain, resumed=bool(trials))
    if plan.race:
        opened = _with_artefacts(info, store)
        cluster = plan.cluster or Cluster()
        trials = race.run(plan.race, cluster, opened, store, study, algorithm, decisions)

    def upcoming() -> Iterator[Callable[[], Trial]]:
        """What is to be tried: what a killed process left, then proposals, each made when asked."""
        for trial in trials:
            if trial.state == "pending" and trial.number > 0:
                study.begin(trial.candidate_id)
                yield partial(attempt, trial.number, dict(trial.tree), resumed=True)
        number = len(trials) or 1
        while study.goes_on() and (numbers := algorithm.ask()) is not None:
            tree = canonical_tree(decisions.tree(numbers))
            candidate = store.propose(info.name, number, tree, numbers)
            study.proposed(candidate)
            study.begin(candidate)
            yield partial(attempt, number, tree)
            number += 1

    proposals = upcoming()
    flight: InFlight[Trial] = InFlight(workers.at_once)
    again: InFlight[int] = InFlight(workers.at_once)
    try:
        while True:
            while not flight.full and (work := next(proposals, None)) is not None:
                flight.start(work)
            if not len(flight):
                break
            for trial in flight.ended():
                algorithm.tell(trial.numbers, *answer(trial, info.objectives, here))
        if plan.confirm:
            confirm(study, store, measurer, here, again)
    except BaseException:
        study.stop()
        workers.stop()
        raise
    finally:
        flight.close()
        again.close()
    return Outcome(
        info,
        len(to_confirm(store, info.name)),
        measurer.recording_seconds,
        measurer.law_seconds,
        measurer.measured_seconds,
        measurer.near_ties,
    )


def _workers(plan: Plan, info: StudyInfo, trials: list[Trial], watch: Watcher) -> Workers:
    if plan.cluster is None:
        return InProcess(info)
    from paretoken.search.dispatch import RayWorkers  # a second to import, only where asked for

    def say(phase: str, share: float) -> None:
        watch(Progress(phase, share, 0, plan.trials, None, None))

    timed = trials[0].environment if trials else None
    return RayWorkers(plan.cluster, info, timed.device if timed else "", say)


def _with_artefacts(info: StudyInfo, store: Store) -> StudyInfo:
    """What a workload that trains is opened with: its artefacts lie beside the store.

    Where they lie is no part of the study, which may move together with them.
    """
    if KINDS["workloads"].load(info.workload).modality != "training":
        return info
    beside = store.beside("artefacts")
    usual = {} if beside is None else {"artefacts": str(beside)}
    return replace(info, options={**usual, **info.options})


def _new_study(plan: Plan, store: Store) -> StudyInfo:
    """The study to be stored; every name and value of the plan is checked first."""
    if any(info.name == plan.study for info, _ in store.studies()):
        raise BadInput(
            f"there is a study {plan.study!r} already: continue it with --resume, or choose "
            "another name with --study."
        )
    plugin = KINDS["workloads"].load(plan.workload)
    KINDS["algorithms"].load(plan.algorithm)
    space = load(plan.space or plugin.space_for(plan.options))
    for setting in plan.settings:
        space = space.narrow(*parse_setting(setting))
    if "batch" in plan.options and "runtime" in space.root.fields:
        space = space.fix("runtime.batch", plan.options["batch"])
    return StudyInfo(
        plan.study,
        plan.workload,
        plan.algorithm,
        plan.seed,
        space.to_json(),
        (),
        plan.options,
        "",
        checked(plan.rungs),
        getattr(plugin, "baseline", PLAIN),
    )
