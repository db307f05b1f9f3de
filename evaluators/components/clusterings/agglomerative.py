"""Agglomerative: join the two clusters whose codes lie nearest on average, again and again.

Distances are between codes, not to means, which say little in a codebook; partitions of fewer
clusters are unions of those of more. No seed. Codes count alike: the weighting does nothing.
Source: average linkage (Sokal and Michener 1958), by scipy; merging by distances between codes as
in DCPE (2025, arXiv:2508.10719).
"""

from __future__ import annotations

import numpy as np
from scipy.cluster.hierarchy import fcluster, linkage

from paretoken.evaluators.clusters.clustering import Counted, Points
from paretoken.evaluators.clusters.partition import Ints
from paretoken.spaces.component import Component


class Agglomerative(Counted):
    """Average linkage."""

    def labels(self, points: Points, weights: Points) -> Ints:
        # On the sphere, where the cosine puts codes, this orders pairs as their angles do.
        tree = linkage(points, "average")
        wanted = int(self.clusters)
        found: Ints = fcluster(tree, wanted, "maxclust").astype(np.int64) - 1
        if len(np.unique(found)) < wanted:  # equal heights are not cut apart: cut by the order
            found = _cut(tree, len(points), wanted)
        return found

    def simplified(self) -> Component:
        simpler = super().simplified()
        if simpler is self and self.weighting != "uniform":
            simpler = self.clone(override={"weighting": "uniform"})
        return simpler


def _cut(tree: Points, codes: int, wanted: int) -> Ints:
    """Labels after all but the last wanted - 1 joins."""
    parent = np.arange(2 * codes - 1)
    for nth, (one, other) in enumerate(tree[: codes - wanted, :2].astype(np.int64)):
        parent[[one, other]] = codes + nth
    roots = np.arange(codes)
    while (parent[roots] != roots).any():
        roots = parent[roots]
    return np.unique(roots, return_inverse=True)[1].astype(np.int64)


plugin = Agglomerative
