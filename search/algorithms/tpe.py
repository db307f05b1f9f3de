"""TPE by Optuna: one density of the good proposals and one of the rest; propose where they differ.

Define by run: a trial decides its live points only. In a conditional space the joint densities are
fitted group by group (points that are live together).
Sources: Bergstra et al. (NeurIPS 2011); several objectives: Ozaki et al. (JAIR 2022); joint
densities: Falkner et al., BOHB (ICML 2018).
"""

from __future__ import annotations

import warnings
from collections import defaultdict, deque
from collections.abc import Sequence
from typing import Any

import optuna
from optuna.samplers import BaseSampler, RandomSampler, TPESampler
from optuna.trial import TrialState

from paretoken.search.algorithm import Algorithm, Told
from paretoken.search.algorithms._optuna import new_study, seed_of
from paretoken.search.decisions import Decisions, Numbers, Point
from paretoken.spaces.objectives import Objective

_BEGINNING = 10  # proposals, at least, that there is too little to learn from


class TPE(Algorithm):
    """Good for tens to a few hundred proposals; each costs more than the one before."""

    def __init__(self, decisions: Decisions, objectives: Sequence[Objective], seed: int) -> None:
        super().__init__(decisions, objectives, seed)
        self._study = new_study(len(self.objectives))
        self._trials: defaultdict[Numbers, deque[optuna.Trial]] = defaultdict(deque)
        self._beginning = max(_BEGINNING, decisions.width)

    def propose(self, n: int) -> Numbers | None:
        trial = self._ask(self._sampler(seed_of(self, n)))
        suggested = self._suggest(trial)
        # Optuna draws at random for as long.
        numbers = self.beginning(n) if n < self._beginning else self.new(suggested, n)
        self._settle(trial, numbers)
        return numbers

    def replay(self, n: int, numbers: Numbers) -> None:
        trial = self._ask(RandomSampler(seed=seed_of(self, n)))  # TPE leaves no traces, costs more
        self._suggest(trial)
        self._settle(trial, numbers)

    def learn(self, told: Told) -> None:
        trial = self._trials[told.numbers].popleft()
        if told.losses is None:
            self._study.tell(trial, state=TrialState.FAIL)
            return
        if told.reason:
            trial.set_constraint("feasible", 1.0)  # above 0: broken
        self._study.tell(trial, told.losses)

    def _sampler(self, seed: int) -> BaseSampler:
        with warnings.catch_warnings():  # that some of these options are experimental
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            return TPESampler(
                n_startup_trials=self._beginning,
                multivariate=True,
                group=self.decisions.conditional,
                seed=seed,
            )

    def _ask(self, sampler: BaseSampler) -> optuna.Trial:
        self._study.sampler = sampler
        return self._study.ask()

    def _suggest(self, trial: optuna.Trial) -> Numbers:
        return self.decisions.decide(lambda point: _suggest(trial, point))

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
            self._suggest(trial)
        self._trials[numbers].append(trial)


def _suggest(trial: optuna.Trial, point: Point) -> Any:
    """Optuna's choice at a point; increasing options keep their order as integers."""
    if not point.size:
        return trial.suggest_float(point.name, point.low, point.high, log=point.log)
    if point.ordered:
        return trial.suggest_int(point.name, 0, point.size - 1)
    return trial.suggest_categorical(point.name, range(point.size))


plugin = TPE
