"""TPE by Optuna: one density of the good proposals and one of the rest; propose where they differ.

Define by run: a trial decides its live points only. In a conditional space the joint densities are
fitted group by group (points that are live together).
Sources: Bergstra et al. (NeurIPS 2011); several objectives: Ozaki et al. (JAIR 2022); joint
densities: Falkner et al., BOHB (ICML 2018).
"""

from __future__ import annotations

import optuna

from paretoken.search.algorithms._optuna import OptunaAlgorithm, quietly, suggest
from paretoken.search.decisions import Numbers


class TPE(OptunaAlgorithm):
    """Good for tens to a few hundred proposals; each costs more than the one before."""

    def sampler(self, seed: int) -> optuna.samplers.BaseSampler:
        group = self.decisions.conditional
        made: optuna.samplers.BaseSampler = quietly(
            optuna.samplers.TPESampler, multivariate=True, group=group, seed=seed
        )
        return made

    def replaying(self, seed: int) -> optuna.samplers.BaseSampler:
        return optuna.samplers.RandomSampler(seed=seed)  # TPE leaves no traces, and costs more

    def suggest(self, trial: optuna.Trial) -> Numbers:
        return self.decisions.decide(lambda point: suggest(trial, point))


plugin = TPE
