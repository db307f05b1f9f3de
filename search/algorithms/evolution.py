"""Evolution by PyGlove: regularized evolution for one objective, its NSGA-II for several.

PyGlove's trial loop is not used: its `Evolution` is asked and told directly. An individual is a
number to it, whose decisions are kept here: a DNA of all decisions takes 15 ms to make. All chance
is seeded (a seed given to the algorithm alone leaves its mutator unseeded), rewards are negated
losses (PyGlove maximises), and a study is resumed by replaying it, because the state hangs on the
metadata of the very DNA that were proposed. What failed or is infeasible has no reward: it is not
fed back, and joins no population.
Sources: Real et al., "Regularized evolution for image classifier architecture search" (AAAI 2019);
Peng et al., "PyGlove" (NeurIPS 2020).
"""

from __future__ import annotations

import itertools
from collections import Counter, defaultdict, deque
from collections.abc import Iterator, Sequence
from typing import Any

import pyglove as pg
from pyglove.ext.evolution.base import get_fitness
from pyglove.ext.evolution.nsga2 import dominates, nondominated_sort

from paretoken.search.algorithm import Algorithm, Told
from paretoken.search.decisions import Decisions, Numbers
from paretoken.spaces.objectives import Objective

# Small, because a measurement takes seconds and studies have tens to hundreds of them. On toys with
# 80 and 200 proposals, 8, 12 and 16 were not distinguishable.
_POPULATION = 12
_TOURNAMENT = 4
_MOST = 2.0**53  # individuals: so far floats count exactly


class Evolution(Algorithm):
    """Change one decision of a good candidate at a time."""

    def __init__(self, decisions: Decisions, objectives: Sequence[Objective], seed: int) -> None:
        super().__init__(decisions, objectives, seed)
        self._n = 0  # the proposal being made
        mutator = pg.evolution.Lambda(self._mutate)
        if len(self.objectives) > 1:
            made = pg.evolution.nsga2(mutator, _POPULATION, seed)
            made.rebind(_sorting_fast)
        else:
            made = pg.evolution.regularized_evolution(mutator, _POPULATION, _TOURNAMENT, seed)
        beginning = pg.geno.dna_generator(self._beginning)()
        made.rebind(population_init=(beginning, _POPULATION), skip_notification=False)
        made.setup(pg.dna_spec(pg.floatv(0.0, _MOST)))
        self._evolution = made
        self._individuals: list[Numbers] = []
        self._proposed: defaultdict[Numbers, deque[Any]] = defaultdict(deque)

    def propose(self, n: int) -> Numbers | None:
        dna = self._next(n)
        numbers = self._numbers(dna)
        self._proposed[numbers].append(dna)
        return numbers

    def replay(self, n: int, numbers: Numbers) -> None:
        dna = self._next(n)
        if self._numbers(dna) != numbers:  # answers had arrived in another order then
            given = self._individual(numbers)
            for key, value in dna.metadata.items():
                given.set_metadata(key, value)
            dna = given
        self._proposed[numbers].append(dna)

    def learn(self, told: Told) -> None:
        dna = self._proposed[told.numbers].popleft()
        if told.losses is not None and not told.reason:
            rewards = tuple(-loss for loss in told.losses)
            self._evolution.feedback(dna, rewards if len(rewards) > 1 else rewards[0])

    def _next(self, n: int) -> Any:
        self._n = n
        return self._evolution.propose()

    def _beginning(self, spec: Any) -> Iterator[Any]:
        while True:
            yield self._individual(self.beginning(self._n))

    def _mutate(self, parents: list[pg.DNA]) -> list[pg.DNA]:
        rng, every = self.chance(self._n), map(self._numbers, parents)
        changed = [self.decisions.neighbour(numbers, rng) for numbers in every]
        return [self._individual(self.new(numbers, self._n)) for numbers in changed]

    def _individual(self, numbers: Numbers) -> Any:
        self._individuals.append(numbers)
        return pg.DNA(float(len(self._individuals) - 1))

    def _numbers(self, dna: Any) -> Numbers:
        return self._individuals[int(dna.value)]


def _sorting_fast(_path: Any, value: Any, _parent: Any) -> Any:
    return fronts if isinstance(value, nondominated_sort) else value


def fronts(population: list[pg.DNA]) -> list[list[pg.DNA]]:
    """PyGlove's `nondominated_sort`, in its order, but each fitness is read once and not per pair.

    Reading one is slow: half of what a proposal costs went there.
    """
    fitness = [get_fitness(dna) for dna in population]
    beaten = [[j for j, other in enumerate(fitness) if dominates(one, other)] for one in fitness]
    better = Counter(itertools.chain.from_iterable(beaten))  # how many dominate each
    front = [i for i in range(len(population)) if not better[i]]
    found = []
    while front:
        found.append([population[i] for i in front])
        behind = []
        for j in itertools.chain.from_iterable(beaten[i] for i in front):
            better[j] -= 1
            if not better[j]:
                behind.append(j)
        front = behind
    return found


plugin = Evolution
