"""Clustering: how codes become clusters, by where they lie and how often they are used."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from paretoken.evaluators.clusters.partition import Ints, Partition
from paretoken.spaces.component import Component, knob
from paretoken.spaces.errors import BadInput

Points = NDArray[np.float64]

METRICS = ("euclidean", "cosine")
_AT_ONCE = 1 << 24  # numbers of a table of distances


class Clustering(Component):
    """Base of all clusterings.

    Codes that are never used would draw clusters towards them: where usage is known only the used
    ones are clustered, and the others join whatever cluster's mean is nearest.
    """

    kind = "clusterings"

    metric: str = knob(
        "euclidean",
        among=METRICS,
        doc="How far codes are apart; cosine: means too are put on the unit sphere.",
    )
    weighting: str = knob(
        "uniform",
        among=("uniform", "usage"),
        grid=("uniform",),
        doc="What a code weighs: one, or how often it is used (where that is known).",
    )

    @property
    def count(self) -> int | None:
        """How many clusters are asked for; None where the algorithm finds out."""
        return None

    @abstractmethod
    def labels(self, points: Points, weights: Points) -> Ints:
        """Labels [n] of points [n, d] that weigh [n], which is 1 on average.

        Neither end is asked for: there are more clusters than 1 and fewer than points.
        """

    def partition(self, points: Points, counts: Points | None = None) -> Partition:
        """The partition of codes at points [V, d], used so often: counts [V], None if not known."""
        codes = len(points)
        if points.ndim != 2 or not np.isfinite(points).all():
            raise BadInput("codes to be clustered lie at finite points [V, d].")
        if self.count is not None and self.count >= codes:
            return Partition.finest(codes)
        if self.count == 1:
            return Partition(np.zeros(codes, dtype=np.int64))
        placed = self.placed(points)
        used = np.arange(codes) if counts is None else np.flatnonzero(counts)
        if not len(used):
            used = np.arange(codes)
        weights = np.ones(len(used))
        if counts is not None and self.weighting == "usage" and counts[used].sum() > 0:
            weights = counts[used] * (len(used) / counts[used].sum())
        if self.count is not None and self.count >= len(used):
            own = np.arange(len(used))
        else:
            own = self.labels(placed[used], weights)
        found = np.empty(codes, dtype=np.int64)
        found[used] = own
        if len(used) < codes:
            unused = np.setdiff1d(np.arange(codes), used)
            found[unused] = nearest(placed[unused], self.means(placed[used], own, weights))[0]
        return Partition.of(found)

    def placed(self, points: Points) -> Points:
        """Points as the metric sees them: for the cosine on the unit sphere."""
        return unit(points) if self.metric == "cosine" else points

    def means(self, points: Points, labels: Ints, weights: Points) -> Points:
        """The weighted mean of every cluster [k, d], on the sphere for the cosine."""
        total = np.zeros((int(labels.max()) + 1, points.shape[1]))
        np.add.at(total, labels, points * weights[:, None])
        if self.metric == "cosine":
            return unit(total)
        mass = np.bincount(labels, weights=weights, minlength=len(total))
        found: Points = total / np.maximum(mass, np.finfo(float).tiny)[:, None]
        return found

    def simplified(self) -> Component:
        if self.count == 1:
            from paretoken.spaces.candidate import from_tree

            everything: Component = from_tree(
                {"is": "clusterings/kmeans", "clusters": 1}, "clusterings"
            )
            return self if self == everything else everything
        return self


class Counted(Clustering):
    """Base of clusterings into a number of clusters that is chosen.

    As many as there are codes, or more, is every code by itself.
    """

    clusters: int = knob(
        32,
        low=1,
        high=65536,
        grid=(1, 4, 16, 32, 64, 128, 256, 512, 1024),
        log=True,
        doc="Clusters; as many as codes or more: each by itself.",
    )

    @property
    def count(self) -> int | None:
        return int(self.clusters)


def unit(points: Points) -> Points:
    """Points on the unit sphere; one at the origin stays there."""
    length = np.linalg.norm(points, axis=1, keepdims=True)
    found: Points = points / np.maximum(length, np.finfo(float).tiny)
    return found


def squared_distances(points: Points, centres: Points) -> Points:
    """[n, k]; what rounding makes less than nothing is nothing."""
    dots = points @ centres.T
    found = (points**2).sum(1)[:, None] - 2.0 * dots + (centres**2).sum(1)
    clipped: Points = np.maximum(found, 0.0)
    return clipped


def nearest(points: Points, centres: Points) -> tuple[Ints, Points]:
    """Of each point the nearest centre [n], the first of equals, and its squared distance [n]."""
    step = max(1, _AT_ONCE // max(1, len(centres)))
    labels, apart = np.empty(len(points), dtype=np.int64), np.empty(len(points))
    for start in range(0, len(points), step):
        part = slice(start, start + step)
        found = squared_distances(points[part], centres)
        labels[part] = found.argmin(1)
        apart[part] = found[np.arange(len(found)), labels[part]]
    return labels, apart


def chance(seed: int, *more: Any) -> np.random.Generator:
    """A generator of its own for each of several starts."""
    return np.random.default_rng([seed, *more])
