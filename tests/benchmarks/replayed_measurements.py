"""A finite space measured once, and a workload that answers from these measurements.

The workload decodes nothing: it gives back the numbers, the seconds and the equal behaviours that
were measured, so that a search over it is the search it would have been, in a fraction of the time.
A candidate has one measurement for each number of samples: asked again, it gives the same again.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from paretoken.cache.digest import candidate_id, digest, stable_json
from paretoken.cache.store import Store
from paretoken.spaces.candidate import from_tree, to_tree
from paretoken.spaces.component import Component
from paretoken.spaces.errors import BadInput, MeasurementFailed
from paretoken.spaces.plugins import KINDS, Plugins
from paretoken.spaces.records import Failure, Keys, Measurement, Trial
from paretoken.spaces.space import Space
from paretoken.spaces.workload import Behaviour, Observed, Report, Sampled

NAME = "replayed"


def study_of(space: Space, samples: int) -> str:
    """The name of the study in which the whole space is measured by so many samples."""
    return f"{digest(stable_json(space.to_json()))[:8]} N={samples}"


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

    space = "image-decoding"

    def __init__(self, table: Table) -> None:
        self._table = table
        self.objectives, self.samples = table.objectives, table.rungs[-1]
        self.environment = table.environment
        self.spent = 0.0

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
