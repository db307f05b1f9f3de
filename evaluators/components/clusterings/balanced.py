"""Balanced k-means: clusters whose sizes differ by one code at most, of those that are used.

Every round gives the codes to the means at the least total distance, exactly, as an assignment
problem (scipy); above 4,096 codes greedily, those nearest to a mean first, as IAR does: that is not
optimal. Balancing moves bits from the fine to the coarse stage and makes clusters looser.
Equivalence: at either end of the number of clusters it is k-means.
Source: Hu et al., "Improving autoregressive visual generation with cluster-oriented token
prediction" (2025, arXiv:2501.00880).
"""

from __future__ import annotations

import numpy as np
from scipy.optimize import linear_sum_assignment

from paretoken.evaluators.clusters.clustering import Counted, Points, chance, squared_distances
from paretoken.evaluators.clusters.lloyd import spread_centres
from paretoken.evaluators.clusters.partition import Ints
from paretoken.spaces.component import knob

_EXACT = 4096  # codes: the table of an assignment problem has their square
# What no assignment takes: larger than the distances of all codes together.
_NEVER = 1e12


class Balanced(Counted):
    """Clusters of equal size around means."""

    seed: int = knob(0, low=0, high=1 << 31, grid=(0,), doc="Of the start.")
    n_init: int = knob(1, low=1, high=100, grid=(1,), doc="Starts, of which the best counts.")
    max_iter: int = knob(30, low=1, high=10_000, grid=(30,), doc="Rounds of a start at most.")

    def labels(self, points: Points, weights: Points) -> Ints:
        clusters = int(self.clusters)
        found = []
        for nth in range(self.n_init):
            centres = spread_centres(points, weights, clusters, chance(self.seed, nth))
            labels = np.full(len(points), -1, dtype=np.int64)
            for _ in range(self.max_iter):
                before, labels = labels, _assigned(squared_distances(points, centres), weights)
                if np.array_equal(before, labels):
                    break
                centres = self.means(points, labels, weights)
            apart = ((points - centres[labels]) ** 2).sum(1)
            found.append((float((weights * apart).sum()), nth, labels))
        return min(found, key=lambda one: one[:2])[2]


def _assigned(apart: Points, weights: Points) -> Ints:
    """Labels [n] for squared distances [n, k], all sizes floor(n / k) or one more."""
    codes, clusters = apart.shape
    least, larger = divmod(codes, clusters)
    if codes > _EXACT:
        return _greedy(apart, least, larger)
    cost = apart * weights[:, None]
    places = np.repeat(np.arange(clusters), least)
    if larger:
        # One more place in every cluster, of which all but `larger` go to nobody: nobody takes
        # those only.
        cost = np.concatenate([cost[:, places], cost], axis=1)
        nobody = np.full((clusters - larger, cost.shape[1]), _NEVER)
        nobody[:, len(places) :] = 0.0
        cost = np.concatenate([cost, nobody])
        places = np.concatenate([places, np.arange(clusters)])
    else:
        cost = cost[:, places]
    rows, columns = linear_sum_assignment(cost)
    labels = np.empty(len(cost), dtype=np.int64)
    labels[rows] = places[columns]
    return labels[:codes]


def _greedy(apart: Points, least: int, larger: int) -> Ints:
    """The codes that are nearest to any mean first, each to the nearest that has room."""
    labels = np.empty(len(apart), dtype=np.int64)
    sizes = np.zeros(apart.shape[1], dtype=np.int64)
    closed = apart.copy()
    for code in np.argsort(apart.min(1), kind="stable"):
        cluster = int(closed[code].argmin())
        labels[code] = cluster
        sizes[cluster] += 1
        larger -= sizes[cluster] == least + 1
        full = least + (larger > 0)
        if sizes[cluster] >= full:
            closed[:, cluster] = np.inf
        if larger == 0:  # nobody may have one more from here on
            closed[:, sizes >= least] = np.inf
    return labels


plugin = Balanced
