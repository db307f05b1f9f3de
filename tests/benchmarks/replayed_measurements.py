"""A finite space measured once, and a workload that answers from these measurements.

The workload decodes nothing: it gives back the numbers, the seconds and the equal behaviours that
were measured, so that a search over it is the search it would have been, in a fraction of the time.
A candidate has one measurement for each number of samples: asked again, it gives the same again.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.console import Console

from paretoken.cache.digest import candidate_id, digest, stable_json
from paretoken.cache.store import Store
from paretoken.evaluators.image_workload import ImageWorkload
from paretoken.search.decisions import Decisions
from paretoken.search.loop import Plan, search
from paretoken.search.measuring import Reuse
from paretoken.search.progress import Progress
from paretoken.spaces.candidate import from_tree, to_tree
from paretoken.spaces.canonical import canonical
from paretoken.spaces.component import Component
from paretoken.spaces.errors import BadInput, MeasurementFailed
from paretoken.spaces.plugins import KINDS, Plugins
from paretoken.spaces.records import Failure, Keys, Measurement, StudyInfo, Trial
from paretoken.spaces.space import Space
from paretoken.spaces.workload import Behaviour, Observed, Report, Sampled

NAME = "replayed"
MOST = 100_000  # writings of candidates that are looked through for different ones


class Enough(KeyboardInterrupt):
    """The time or the budget is spent; the study stands as after Ctrl-C."""


def study_of(space: Space, samples: int) -> str:
    """The name of the study in which the whole space is measured by so many samples."""
    return f"{digest(stable_json(space.to_json()))[:8]} N={samples}"


def measure(
    store: Store,
    space: Space,
    samples: int,
    options: dict[str, Any],
    deadline: float,
    console: Console,
) -> bool:
    """Measure every candidate by so many samples, each for itself; whether all are done."""
    name = study_of(space, samples)
    plan = Plan(
        name, "fashion", trials=1, resume=True, confirm=False,
        reuse=Reuse(observations=1, audit=1.0),  # what equals another is measured all the same
        options={**options, "samples": samples},
    )  # fmt: skip
    if name not in [info.name for info, _ in store.studies()]:
        _propose_all(store, space, plan)
    size = store.size(name)

    def watch(moment: Progress) -> None:
        if moment.finished is not None:
            console.print(f"{name}: {moment.finished.number + 1} of {size}", end="\r")
        if time.monotonic() > deadline:
            raise Enough

    if any(trial.state == "pending" for trial in store.trials(name)):
        try:
            search(plan, store, watch)
        except Enough:
            return False
    return True


def _propose_all(store: Store, space: Space, plan: Plan) -> None:
    """A study of every candidate that the space has, none of them measured."""
    decisions = Decisions(space)
    if decisions.count > MOST:
        raise BadInput(f"{decisions.count} candidates: narrow the space with --set.")
    trees = {}
    for index in range(decisions.count):
        numbers = decisions.nth(index)
        tree = to_tree(canonical(from_tree(decisions.tree(numbers))))
        trees.setdefault(candidate_id(tree), (tree, numbers))
    plain = to_tree(canonical(from_tree({"runtime": {"is": "runtimes/local", "batch": 1}})))
    trees.pop(candidate_id(plain), None)
    store.create_study(
        StudyInfo(
            plan.study, plan.workload, "grid", 0, space.to_json(), ImageWorkload.objectives,
            plan.options, "",
        )
    )  # fmt: skip
    for number, (tree, numbers) in enumerate([(plain, ()), *trees.values()]):
        store.propose(plan.study, number, tree, numbers)


@dataclass(frozen=True)
class Measured:
    """What is known of a candidate. best: its trial at the last rung: the means of its classes.

    quality: by number of samples. failure: why one of these is missing.
    """

    best: Trial
    keys: Keys
    quality: Mapping[int, Measurement]
    speed: Measurement | None
    failure: Failure | None

    def seconds(self, samples: int) -> float:
        """What one measurement of quality and speed took; of one that failed nothing is known."""
        seen = (self.quality.get(samples), self.speed)
        return sum(one.seconds for one in seen if one is not None)


class Table:
    """All candidates of a space, by id; plain decoding is the first."""

    def __init__(self, store: Store, space: Space, rungs: tuple[int, ...]) -> None:
        self.rungs, top = rungs, study_of(space, rungs[-1])
        self.objectives = store.study(top).objectives
        self.found: dict[str, Measured] = {}
        failures: dict[str, Failure] = {}
        for number in rungs:
            for trial in store.trials(study_of(space, number)):
                if trial.failure is not None:
                    failures[trial.candidate_id] = trial.failure
        for trial in store.trials(top):
            one = trial.candidate_id
            seen = store.measurements(one)
            self.found[one] = Measured(
                best=trial,
                keys=store.fingerprints(one)[-1][1],
                quality={m.quantities[0].samples: m for m in seen if m.aspect == "quality"},
                speed=next((m for m in seen if m.aspect == "speed"), None),
                failure=trial.failure or failures.get(one),
            )

        self.plain = next(iter(self.found.values()))
        assert self.plain.best.environment is not None
        self.environment = self.plain.best.environment


class Replayed:
    """The workload. spent: the seconds of all measurements given back so far."""

    modality = "image"

    def __init__(self, table: Table) -> None:
        self._table = table
        self.objectives, self.samples = table.objectives, table.rungs[-1]
        self.environment = table.environment
        self.spent = 0.0

    def space_for(self, options: Mapping[str, Any]) -> str:
        return "image-decoding"

    def open(self, **options: Any) -> Replayed:
        return self

    def check_samples(self, samples: int) -> None:
        if samples not in self._table.rungs:
            raise BadInput(f"nothing was measured by {samples} samples.")

    def plain(self) -> Component:
        return from_tree(dict(self._table.plain.best.tree))

    def context(self) -> Mapping[str, Any]:
        return {"replayed": True}

    def record(self) -> bytes:
        return b"none"

    def behaviour(self, candidate: Component, recording: bytes) -> Behaviour:
        """Equal where the measured ones were: the names of their classes stand for the floats."""
        keys = self._of(candidate).keys
        return Behaviour(
            context=self.context(), target=(_numbers(keys.quality).astype(float),),
            drafting={"work": keys.work}, rule=(), lossless=True, evidence={}, conditions={},
            runtime=to_tree(candidate)["runtime"],
        )  # fmt: skip

    def sample(self, candidate: Component, samples: int, seed: int, report: Report) -> Sampled:
        found = self._of(candidate).quality.get(samples)
        if found is None:
            raise self._failed(candidate)
        tokens = _numbers(digest(candidate_id(to_tree(candidate)), str(seed), str(samples)))
        return Sampled(tokens[None], (_numbers(found.trace),), found.seconds, found)

    def judge(self, sampled: Sampled, report: Report) -> Observed:
        self.spent += sampled.payload.seconds
        return Observed(sampled.payload.quantities, sampled.payload.seconds)

    def speed(self, candidate: Component, report: Report) -> Observed:
        found = self._of(candidate).speed
        if found is None:
            raise self._failed(candidate)
        self.spent += found.seconds
        return Observed(found.quantities, found.seconds, {}, (_numbers(found.trace),))

    def _of(self, candidate: Component) -> Measured:
        return self._table.found[candidate_id(to_tree(candidate))]

    def _failed(self, candidate: Component) -> MeasurementFailed:
        failure = self._of(candidate).failure
        assert failure is not None, "neither measured nor failed"
        return MeasurementFailed(failure.reason, failure.detail)


def replaying(table: Table) -> Replayed:
    """The workload over a table, which searches of this process find under `NAME` from now on."""
    made = Replayed(table)

    class WithReplayed(Plugins):
        def load(self, name: str) -> Any:
            return made if name == NAME else super().load(name)

    KINDS["workloads"] = WithReplayed("workloads", KINDS["workloads"].package)
    return made


def _numbers(text: str) -> NDArray[np.int64]:
    return np.frombuffer(text.encode(), np.uint8).astype(np.int64)
