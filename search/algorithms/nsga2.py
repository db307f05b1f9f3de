"""NSGA-II by Optuna: non-dominated sorting, crowding, uniform crossover and mutation.

Every trial decides every point, live or not: Optuna crosses only what all trials have, so asking
for the live ones alone would draw everything inside a choice anew. A dead gene is carried along and
takes effect when crossover puts it where it is live.
Source: Deb et al., "A fast and elitist multiobjective genetic algorithm: NSGA-II" (IEEE TEC 2002).
"""

from __future__ import annotations

import optuna

from paretoken.search.algorithms._optuna import OptunaAlgorithm, suggest
from paretoken.search.decisions import Numbers

# A generation: small, because a measurement takes seconds and studies have tens to hundreds.
_POPULATION = 20


class NSGA2(OptunaAlgorithm):
    """Good beyond a few hundred proposals, and nearly free at any number."""

    def sampler(self, seed: int) -> optuna.samplers.BaseSampler:
        return optuna.samplers.NSGAIISampler(population_size=_POPULATION, seed=seed)

    def suggest(self, trial: optuna.Trial) -> Numbers:
        genes = {point.name: suggest(trial, point) for point in self.decisions.points}
        return self.decisions.decide(lambda point: genes[point.name])


plugin = NSGA2
