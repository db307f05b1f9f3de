"""The search loop: propose, canonicalise, look up, measure what is new, tell.

Every finished measurement is committed at once. Whatever kills the process, `resume` continues:
what was measured is recalled by its key, and the algorithm is told the study's history.
"""

from __future__ import annotations

import time
import traceback
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from paretoken.cache.fingerprint import candidate_id, cost_key, quality_key
from paretoken.cache.store import Store
from paretoken.search.algorithm import Algorithm, Losses, Told
from paretoken.search.decisions import Decisions
from paretoken.search.progress import Progress, Watcher
from paretoken.spaces.candidate import from_tree, to_tree
from paretoken.spaces.canonical import canonical
from paretoken.spaces.component import Component
from paretoken.spaces.errors import BadInput, MeasurementFailed
from paretoken.spaces.objectives import Objective
from paretoken.spaces.plugins import KINDS
from paretoken.spaces.records import Failure, Measurement, StudyInfo, Trial
from paretoken.spaces.space import Space, load, parse_setting
from paretoken.spaces.workload import Behaviour, Observed, Workload

# A small space runs out of new candidates before an algorithm notices: stop after so many
# proposals in a row that the study has measured already.
_MOST_REPEATS = 200


@dataclass(frozen=True)
class Plan:
    """What the user asked for; see `paretoken search --help`.

    trials: candidates in all, plain decoding included; repeated proposals are not counted.
    minutes: for this call; no candidate is begun after it.
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


def search(plan: Plan, store: Store, watch: Watcher) -> StudyInfo:
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
    study = _Study(info, workload, store, watch, plan.trials, deadline)
    for trial in trials:
        study.known(trial)
        if trial.state == "pending":  # interrupted: it was proposed, but not finished
            finished = study.measure(trial.number, from_tree(trial.tree))
            if trial.number > 0:
                algorithm.tell(trial.numbers, *_answer(finished, info.objectives))
    if not trials:
        store.propose(info.name, 0, to_tree(canonical(workload.plain())), ())
        study.measure(0, canonical(workload.plain()))
    number = len(trials) or 1
    while study.goes_on() and (numbers := algorithm.ask()) is not None:
        candidate = canonical(from_tree(decisions.tree(numbers)))
        tree = to_tree(candidate)
        study.repeats = study.repeats + 1 if study.has(tree) else 0
        store.propose(info.name, number, tree, numbers)
        finished = study.measure(number, candidate)
        algorithm.tell(numbers, *_answer(finished, info.objectives))
        number += 1
    return info


class _Study:
    """A running study: measures trials and keeps watch over the limits."""

    def __init__(
        self,
        info: StudyInfo,
        workload: Workload,
        store: Store,
        watch: Watcher,
        wanted: int | None,
        deadline: float | None,
    ) -> None:
        self.info, self.workload, self.store, self.watch = info, workload, store, watch
        self._wanted, self._deadline = wanted, deadline
        self._finished: dict[int, Trial] = {}
        self._started = time.monotonic()
        self._before = 0
        self.repeats = 0

    def known(self, trial: Trial) -> None:
        """A trial of an earlier call."""
        if trial.state != "pending":
            self._finished[trial.number] = trial
            self._before = self._distinct()

    def has(self, tree: Mapping[str, Any]) -> bool:
        """Whether the study has a finished trial with these settings."""
        return any(trial.tree == tree for trial in self._finished.values())

    def goes_on(self) -> bool:
        """Whether another candidate may be begun."""
        if self._deadline is not None and time.monotonic() >= self._deadline:
            return False
        if self.repeats >= _MOST_REPEATS:
            return False
        return self._wanted is None or self._distinct() < self._wanted

    def measure(self, number: int, candidate: Component) -> Trial:
        """Measure what is not known of a proposed trial, and finish it or record its failure."""
        try:
            behaviour = self.workload.behaviour(candidate)
            quality, of_quality = self._aspect("quality", number, candidate, behaviour)
            speed, of_speed = self._aspect("speed", number, candidate, behaviour)
            origin = {"quality": of_quality, "speed": of_speed}
            self.store.finish(self.info.name, number, quality, speed, origin)
        except Exception as error:  # anything may go wrong inside somebody's plug-in
            if isinstance(error, BadInput):
                raise  # the user's mistake, the same for every candidate
            self.store.fail(self.info.name, number, _failure(error))
            if number == 0:
                raise MeasurementFailed(
                    _failure(error).reason,
                    f"plain decoding could not be measured, so nothing can be compared: {error}",
                ) from error
        trial = next(t for t in self.store.trials(self.info.name) if t.number == number)
        self._finished[number] = trial
        self._say("", 1.0, trial)
        return trial

    def _aspect(
        self, aspect: str, number: int, candidate: Component, behaviour: Behaviour
    ) -> tuple[int, str]:
        """The id of the measurement of one aspect, and whether it was measured or reused."""
        key, environment = _key(aspect, behaviour), self.workload.environment
        known = self.store.recall(aspect, key, environment if aspect == "speed" else None)
        if known is not None:
            return known[0], "reused"

        def report(phase: str, share: float) -> None:
            self._say(f"#{number} {phase}", share, None)

        measure = self.workload.quality if aspect == "quality" else self.workload.speed
        observed: Observed = measure(candidate, self.info.seed, report)
        measurement = Measurement(
            aspect, key, observed.quantities, environment, self.info.seed, observed.seconds,
            observed.detail,
        )  # fmt: skip
        return self.store.observe(candidate_id(to_tree(candidate)), measurement), "measured"

    def _distinct(self) -> int:
        """Candidates finished so far; repeated proposals count once."""
        return len({trial.candidate_id for trial in self._finished.values()})

    def _say(self, phase: str, share: float, finished: Trial | None) -> None:
        done, now = self._distinct(), time.monotonic()
        left = None if self._deadline is None else max(0.0, self._deadline - now)
        fresh = done - self._before
        if self._wanted is not None and fresh > 0:
            by_pace = (self._wanted - done) * (now - self._started) / fresh
            left = by_pace if left is None else min(left, by_pace)
        trials = tuple(self._finished[n] for n in sorted(self._finished))
        self.watch(Progress(phase, share, done, self._wanted, left, finished, trials))


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


def _key(aspect: str, behaviour: Behaviour) -> str:
    """What a measurement of this behaviour is reusable for."""
    b = behaviour
    if aspect == "quality":
        return quality_key(b.identity, b.dtype, b.law, b.conditions)
    return cost_key(quality_key(b.identity, b.dtype, b.law, {}), b.runtime, b.decoder)


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
