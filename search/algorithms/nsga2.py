"""NSGA-II by Optuna: non-dominated sorting, crowding, uniform crossover and mutation.

Every trial decides every point, live or not: Optuna crosses only what all trials have, so asking
for the live ones alone would draw everything inside a choice anew. A dead gene is carried along and
takes effect when crossover puts it where it is live.

Optuna's sampler looks through all trials of a study for every proposal, to find out which
generation it belongs to and who its parents are. Here the generations are kept instead, so that a
proposal costs the same at any number, and the sampler is asked beside any study; it proposes what
it would propose in one, but for the first generation, which is spread over the space.
Source: Deb et al., "A fast and elitist multiobjective genetic algorithm: NSGA-II" (IEEE TEC 2002).
"""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Sequence
from typing import Any

from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.samplers import NSGAIISampler
from optuna.trial import FrozenTrial, TrialState

from paretoken.search.algorithm import Algorithm, Told
from paretoken.search.algorithms._optuna import new_study, seed_of
from paretoken.search.decisions import Decisions, Numbers, Point
from paretoken.spaces.objectives import Objective

# Small, because a measurement takes seconds and studies have tens to hundreds of them. Area found
# by 200 proposals on two toys (8 runs, spread 0.6 to 1.2): 12.2 and 14.1 with 8, 11.0 and 14.2 with
# 12, 10.6 and 14.1 with 20, 10.3 and 13.3 with 32. 12 leaves more room for a front than 8.
_POPULATION = 12
_GENERATION = "generation"


class NSGA2(Algorithm):
    """Good beyond a few hundred proposals, and nearly free at any number."""

    def __init__(self, decisions: Decisions, objectives: Sequence[Objective], seed: int) -> None:
        super().__init__(decisions, objectives, seed)
        self._study = new_study(len(self.objectives))  # stays empty: it tells what is minimised
        self._genes = {point.name: _distribution(point) for point in decisions.points}
        crossed = sorted(point.name for point in decisions.points if point.size != 1)
        self._crossed = {name: self._genes[name] for name in crossed}
        self._generations = _Generations()
        self._trials: defaultdict[Numbers, deque[FrozenTrial]] = defaultdict(deque)

    def propose(self, n: int) -> Numbers | None:
        trial = self._drawn(n)
        if trial.system_attrs[_GENERATION] == 0:
            numbers = self.beginning(n)
        else:
            numbers = self.new(self.decisions.decide(lambda point: trial.params[point.name]), n)
        self._keep(trial, numbers)
        return numbers

    def replay(self, n: int, numbers: Numbers) -> None:
        self._keep(self._drawn(n), numbers)

    def learn(self, told: Told) -> None:
        trial = self._trials[told.numbers].popleft()
        if told.losses is None:
            return
        trial.state, trial.values = TrialState.COMPLETE, list(told.losses)
        if told.reason:
            trial.set_constraint("feasible", 1.0)  # above 0: broken
        self._generations.add(trial)

    def _drawn(self, n: int) -> FrozenTrial:
        """Trial n, with the genes that Optuna draws for it."""
        sampler = _Sampler(self._generations, seed_of(self, n))
        trial = FrozenTrial(
            number=n, trial_id=n, state=TrialState.RUNNING, value=None,
            datetime_start=None, datetime_complete=None, params={}, distributions=self._genes,
            user_attrs={}, system_attrs={_GENERATION: self._generations.current},
            intermediate_values={},
        )  # fmt: skip
        crossed = sampler.sample_relative(self._study, trial, self._crossed)
        for name, among in self._genes.items():
            if name in crossed and not among.single():
                trial.params[name] = crossed[name]
            else:
                trial.params[name] = sampler.sample_independent(self._study, trial, name, among)
        return trial

    def _keep(self, trial: FrozenTrial, numbers: Numbers) -> None:
        """The trial of these numbers: its genes say exactly them.

        They may not have: if it was a repeat, if several answers stand for one list of a `manyof`,
        and if it is replayed.
        """
        trial.params.update(self.decisions.choices(numbers))
        self._trials[numbers].append(trial)


class _Generations:
    """The measured trials of each generation, and the parents of each that has begun."""

    def __init__(self) -> None:
        self.measured: defaultdict[int, list[FrozenTrial]] = defaultdict(list)
        self.parents: dict[int, list[FrozenTrial]] = {0: []}
        self._newest = 0

    @property
    def current(self) -> int:
        """The generation that a new trial belongs to."""
        return self._newest + (len(self.measured[self._newest]) >= _POPULATION)

    def add(self, trial: FrozenTrial) -> None:
        """A trial was measured."""
        generation = trial.system_attrs[_GENERATION]
        self.measured[generation].append(trial)
        self._newest = max(self._newest, generation)


class _Sampler(NSGAIISampler):
    """Optuna's, with the generations at hand."""

    def __init__(self, generations: _Generations, seed: int) -> None:
        super().__init__(population_size=_POPULATION, seed=seed)
        self._generations = generations

    def get_trial_generation(self, study: Any, trial: FrozenTrial) -> int:
        generation: int = trial.system_attrs[_GENERATION]
        return generation

    def get_population(self, study: Any, generation: int) -> list[FrozenTrial]:
        return sorted(self._generations.measured[generation])

    def get_parent_population(self, study: Any, generation: int) -> list[FrozenTrial]:
        """Whoever asks first gets them in the order of selection, as in Optuna."""
        parents = self._generations.parents
        if generation in parents:
            return parents[generation]
        selected = self.select_parent(study, generation)
        parents[generation] = sorted(selected)
        return selected


def _distribution(point: Point) -> BaseDistribution:
    """What Optuna draws from at a point; increasing options keep their order as integers."""
    if not point.size:
        return FloatDistribution(point.low, point.high, log=point.log)
    if point.ordered:
        return IntDistribution(0, point.size - 1)
    return CategoricalDistribution(range(point.size))


plugin = NSGA2
