"""Random: clusters of equal size that know nothing of where codes lie: an ablation.

Coarse-to-fine prediction with it is reported to fail at the fine stage.
Equivalence: metric and weighting do nothing.
"""

from __future__ import annotations

import numpy as np

from paretoken.evaluators.clusters.clustering import Counted, Points, chance
from paretoken.evaluators.clusters.partition import Ints
from paretoken.spaces.component import Component, knob


class Random(Counted):
    """Codes shuffled and dealt out."""

    seed: int = knob(0, low=0, high=1 << 31, grid=(0,), doc="Of the shuffle.")

    def labels(self, points: Points, weights: Points) -> Ints:
        dealt: Ints = np.arange(len(points)) % int(self.clusters)
        return dealt[chance(self.seed).permutation(len(points))]

    def simplified(self) -> Component:
        simpler = super().simplified()
        if simpler is self and (self.metric, self.weighting) != ("euclidean", "uniform"):
            simpler = self.clone(override={"metric": "euclidean", "weighting": "uniform"})
        return simpler


plugin = Random
