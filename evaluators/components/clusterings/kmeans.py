"""k-means: Lloyd's algorithm from several k-means++ starts; the tightest result counts.

With the cosine it is spherical k-means: means are put back on the sphere in every round. Which
start wins depends on the seed, and equal partitions are one, whoever found them.
Source: Lloyd (1982); coarse-to-fine prediction clusters by it (Guo et al. 2025, arXiv:2503.16194).
"""

from __future__ import annotations

from paretoken.evaluators.clusters.clustering import Counted, Points, chance
from paretoken.evaluators.clusters.lloyd import lloyd, spread_centres
from paretoken.evaluators.clusters.partition import Ints
from paretoken.spaces.component import knob


class KMeans(Counted):
    """Clusters around means, of whatever size."""

    seed: int = knob(0, low=0, high=1 << 31, grid=(0,), doc="Of the starts.")
    n_init: int = knob(4, low=1, high=100, grid=(4,), doc="Starts, of which the best counts.")
    max_iter: int = knob(100, low=1, high=10_000, grid=(100,), doc="Rounds of a start at most.")

    def labels(self, points: Points, weights: Points) -> Ints:
        found = []
        for nth in range(self.n_init):
            centres = spread_centres(points, weights, int(self.clusters), chance(self.seed, nth))
            found.append(lloyd(points, weights, centres, self.max_iter, self.means))
        return min(found, key=lambda one: one[1])[0]


plugin = KMeans
