"""What the Optuna algorithms share: a study in memory, driven by ask and tell, its chance seeded.

Optuna only proposes; what was measured is kept by us, and given back to it when a study is resumed.
A new sampler is made for every proposal, seeded by the study's seed and the proposal's number:
this is what makes a resumed search go on as an uninterrupted one would.
"""

from __future__ import annotations

import warnings
from abc import abstractmethod
from collections import defaultdict, deque
from collections.abc import Sequence
from typing import Any

import optuna
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.samplers import BaseSampler
from optuna.trial import TrialState

from paretoken.search.algorithm import Algorithm, Told
from paretoken.search.decisions import Decisions, Numbers, Point
from paretoken.spaces.objectives import Objective


class OptunaAlgorithm(Algorithm):
    """Subclasses say which sampler proposes, and which points a trial asks for."""

    def __init__(self, decisions: Decisions, objectives: Sequence[Objective], seed: int) -> None:
        super().__init__(decisions, objectives, seed)
        level = optuna.logging.get_verbosity()
        optuna.logging.set_verbosity(optuna.logging.WARNING)  # or it announces the study
        self._study = optuna.create_study(directions=["minimize"] * len(self.objectives))
        optuna.logging.set_verbosity(level)
        self._trials: defaultdict[Numbers, deque[optuna.Trial]] = defaultdict(deque)

    @abstractmethod
    def sampler(self, seed: int) -> BaseSampler:
        """The sampler of one proposal."""

    def replaying(self, seed: int) -> BaseSampler:
        """The sampler that leaves, beside the parameters, the same traces as `sampler`."""
        return self.sampler(seed)

    @abstractmethod
    def suggest(self, trial: optuna.Trial) -> Numbers:
        """Ask the trial for its decisions."""

    def propose(self, n: int) -> Numbers | None:
        self._study.sampler = self.sampler(self._seed(n))
        trial = self._study.ask()
        numbers = self.new(self.suggest(trial), n)
        self._settle(trial, numbers)
        return numbers

    def replay(self, n: int, numbers: Numbers) -> None:
        self._study.sampler = self.replaying(self._seed(n))
        trial = self._study.ask()
        self.suggest(trial)
        self._settle(trial, numbers)

    def learn(self, told: Told) -> None:
        trial = self._trials[told.numbers].popleft()
        if told.losses is None:
            self._study.tell(trial, state=TrialState.FAIL)
            return
        if told.reason:
            trial.set_constraint("feasible", 1.0)  # above 0: broken
        self._study.tell(trial, told.losses)

    def _settle(self, trial: optuna.Trial, numbers: Numbers) -> None:
        """Keep the trial of these numbers; its parameters say exactly them.

        If they do not (it was a repeat; several answers stand for one list of a `manyof`; a
        replayed proposal may be any), it is dropped as failed, and another takes the right ones.
        """
        wanted = {**trial.params, **self.decisions.choices(numbers)}
        if wanted != trial.params:
            self._study.tell(trial, state=TrialState.FAIL)
            self._study.enqueue_trial(wanted)
            trial = self._study.ask()
            self.suggest(trial)
        self._trials[numbers].append(trial)

    def _seed(self, n: int) -> int:
        return self.chance(n).getrandbits(32)  # as wide as NumPy's seeds are


def distribution(point: Point) -> BaseDistribution:
    """What Optuna draws from at a point; increasing options keep their order as integers."""
    if not point.size:
        return FloatDistribution(point.low, point.high, log=point.log)
    if point.ordered:
        return IntDistribution(0, point.size - 1)
    return CategoricalDistribution(range(point.size))


def suggest(trial: optuna.Trial, point: Point) -> Any:
    """Optuna's choice at a point, as `distribution` says."""
    if not point.size:
        return trial.suggest_float(point.name, point.low, point.high, log=point.log)
    if point.ordered:
        return trial.suggest_int(point.name, 0, point.size - 1)
    return trial.suggest_categorical(point.name, range(point.size))


def quietly(make: Any, **options: Any) -> Any:
    """A sampler, made without Optuna's remark that one of its options is experimental."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        return make(**options)
