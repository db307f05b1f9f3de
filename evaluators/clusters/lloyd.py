"""Lloyd's algorithm from k-means++ starts, with weights, where no cluster stays empty.

Source: Lloyd (1982); Arthur and Vassilvitskii, "k-means++" (SODA 2007).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from paretoken.evaluators.clusters.clustering import Points, nearest, squared_distances
from paretoken.evaluators.clusters.partition import Ints

# Points, labels and weights to the mean of every cluster.
Means = Callable[[Points, Ints, Points], Points]


def spread_centres(
    points: Points, weights: Points, clusters: int, dice: np.random.Generator
) -> Points:
    """k-means++: each next centre is a point drawn by its squared distance to those before it."""
    chosen = [_drawn(weights, dice)]
    apart = squared_distances(points, points[chosen]).min(1)
    while len(chosen) < clusters:
        apart[chosen] = 0.0
        mass = weights * apart
        if mass.sum() <= 0.0:  # all that is left lies on a centre already
            left = np.setdiff1d(np.arange(len(points)), chosen)
            chosen.append(int(left[0]))
        else:
            chosen.append(_drawn(mass, dice))
        apart = np.minimum(apart, squared_distances(points, points[chosen[-1:]])[:, 0])
    return points[chosen].copy()


def lloyd(
    points: Points, weights: Points, centres: Points, most: int, means: Means
) -> tuple[Ints, float]:
    """Labels [n] after at most `most` rounds, and the weighted squared distance to the means.

    A cluster without a member is begun anew at the point that is farthest from its own mean.
    """
    labels = np.full(len(points), -1, dtype=np.int64)
    for _ in range(max(1, most)):
        found, apart = nearest(points, centres)
        _fill(found, apart, len(centres))
        if np.array_equal(found, labels):
            break
        labels = found
        centres = means(points, labels, weights)
    inside = ((points - centres[labels]) ** 2).sum(1)
    return labels, float((weights * inside).sum())


def _fill(labels: Ints, apart: Points, clusters: int) -> None:
    """Give every empty cluster the farthest point of one that has others, in place."""
    sizes = np.bincount(labels, minlength=clusters)
    for empty in np.flatnonzero(sizes == 0):
        spare = np.flatnonzero(sizes[labels] > 1)
        if not len(spare):
            return
        moved = spare[apart[spare].argmax()]
        sizes[labels[moved]] -= 1
        sizes[empty] += 1
        labels[moved], apart[moved] = empty, 0.0


def _drawn(mass: Points, dice: np.random.Generator) -> int:
    """An index, by mass."""
    total = np.cumsum(mass)
    return int(min(np.searchsorted(total, dice.random() * total[-1], side="right"), len(mass) - 1))
