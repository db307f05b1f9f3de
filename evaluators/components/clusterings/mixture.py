"""Mixture: a Gaussian mixture that splits and merges clusters until it is likeliest.

It finds out how many clusters there are. A cluster of n codes has the marginal likelihood of its
codes under a normal-inverse-Wishart prior; it is split by 2-means where
    H = alpha * Gamma(n1) m(X1) * Gamma(n2) m(X2) / (Gamma(n) m(X)) > 1,
and two neighbours are merged where the same ratio of theirs is below 1. A rejected proposal may
still be taken, with `stochastic`. Codes count alike: the weighting does nothing.
Equivalence: alpha towards 0 is one cluster. Far from the variance that clusters have, psi_scale
leaves them whole: below it each half pays |psi|^(nu / 2) anew, above it halves look like the whole.
Source: Zhao, Wen and Han, "Learning semi-supervised Gaussian mixture models for generalized
category discovery" (ICCV 2023, arXiv:2305.06144), written afresh: its release tosses the coin for
every rejected proposal in place of exp(H), and may merge one cluster twice.
"""

from __future__ import annotations

import math

import numpy as np
from scipy.special import gammaln, multigammaln

from paretoken.evaluators.clusters.clustering import Clustering, Points, chance, squared_distances
from paretoken.evaluators.clusters.lloyd import lloyd, spread_centres
from paretoken.evaluators.clusters.partition import Ints
from paretoken.spaces.component import Component, knob

_KAPPA = 1e-4  # how many codes the prior's mean counts as
_ROUNDS_OF_LLOYD = 50


class Mixture(Clustering):
    """As many clusters as the codes ask for."""

    alpha: float = knob(
        1.0, low=1e-30, high=1e30, grid=(1.0, 1e10, 1e20, 1e30), log=True,
        doc="Larger: more clusters.",
    )  # fmt: skip
    psi_scale: float = knob(
        0.005, low=1e-6, high=10.0, grid=(0.005, 0.02, 0.1), log=True,
        doc="Variance that the prior expects inside a cluster; far from what there is, few split.",
    )  # fmt: skip
    k_init: int = knob(32, low=1, high=4096, grid=(32,), log=True, doc="Clusters at the start.")
    rounds: int = knob(20, low=1, high=1000, grid=(20,), doc="Of splits and merges at most.")
    stochastic: float = knob(
        0.0, low=0.0, high=1.0, grid=(0.0,), doc="How often a rejected proposal is taken."
    )
    pca: int = knob(
        16, low=1, high=64, grid=(16,), doc="Principal directions that are looked at, at most."
    )
    min_size: int = knob(5, low=1, high=1000, grid=(5,), doc="What a half must have more than.")
    seed: int = knob(0, low=0, high=1 << 31, grid=(0,), doc="Of starts and coins.")

    def labels(self, points: Points, weights: Points) -> Ints:
        points = _principal(points, self.pca)
        evidence = Evidence(points, self.psi_scale)
        dice = chance(self.seed)
        even = np.ones(len(points))
        start = spread_centres(points, even, min(self.k_init, len(points)), dice)
        labels, _ = lloyd(points, even, start, _ROUNDS_OF_LLOYD, _means)
        for _ in range(self.rounds):
            split = self._split(points, labels, evidence, dice)
            merged = self._merged(points, split, evidence, dice)
            if np.array_equal(merged, labels):
                break
            labels = merged
        return labels

    def _takes(self, ratio: float, dice: np.random.Generator) -> bool:
        return ratio > 0.0 or (self.stochastic > 0.0 and dice.random() < self.stochastic)

    def _split(
        self, points: Points, labels: Ints, evidence: Evidence, dice: np.random.Generator
    ) -> Ints:
        """Labels after every cluster was proposed to be split once."""
        found, free = labels.copy(), int(labels.max()) + 1
        for cluster in range(free):
            members = np.flatnonzero(labels == cluster)
            if len(members) <= self.min_size:
                continue
            inside, even = points[members], np.ones(len(members))
            start = spread_centres(inside, even, 2, dice)
            halves, _ = lloyd(inside, even, start, _ROUNDS_OF_LLOYD, _means)
            one, other = members[halves == 0], members[halves == 1]
            if min(len(one), len(other)) <= self.min_size:
                continue
            if self._takes(evidence.of_split(one, other, self.alpha), dice):
                found[other] = free
                free += 1
        return found

    def _merged(
        self, points: Points, labels: Ints, evidence: Evidence, dice: np.random.Generator
    ) -> Ints:
        """Labels after nearest neighbours were proposed to be merged, until none wants to be."""
        found = labels.copy()
        while True:
            found = np.unique(found, return_inverse=True)[1].astype(np.int64)
            centres = _means(points, found, np.ones(len(points)))
            if len(centres) < 2:
                return found
            apart = squared_distances(centres, centres)
            np.fill_diagonal(apart, np.inf)
            nearest = apart.argmin(1)
            gone: set[int] = set()
            for cluster in np.argsort(apart.min(1), kind="stable").tolist():
                other = int(nearest[cluster])
                if cluster in gone or other in gone:
                    continue
                one, two = np.flatnonzero(found == cluster), np.flatnonzero(found == other)
                # A ratio that is to be split again at once is no reason to merge.
                if self._takes(-evidence.of_split(one, two, self.alpha), dice):
                    found[two] = cluster
                    gone |= {cluster, other}
            if not gone or self.stochastic > 0.0:
                return np.unique(found, return_inverse=True)[1].astype(np.int64)

    def simplified(self) -> Component:
        if self.weighting == "uniform":
            return self
        simpler: Component = self.clone(override={"weighting": "uniform"})
        return simpler


class Evidence:
    """Marginal likelihoods of sets of points [n, d] under a normal-inverse-Wishart prior.

    Its mean is that of all points, with kappa 1e-4 and d + 1 degrees of freedom around psi * I.
    """

    def __init__(self, points: Points, psi: float) -> None:
        self._points, self._mean = points, points.mean(0)
        self._d = points.shape[1]
        self._nu, self._psi = self._d + 1.0, psi * np.eye(self._d)

    def log(self, members: Ints) -> float:
        """ln m of some of the points."""
        x, d, n = self._points[members], self._d, len(members)
        mean = x.mean(0)
        kappa, nu = _KAPPA + n, self._nu + n
        centred = x - mean
        off = (self._mean - mean)[:, None]
        psi = self._psi + centred.T @ centred + (_KAPPA * n / kappa) * (off @ off.T)
        return float(
            -n * d / 2 * math.log(math.pi)
            + multigammaln(nu / 2, d)
            - multigammaln(self._nu / 2, d)
            + self._nu / 2 * np.linalg.slogdet(self._psi)[1]
            - nu / 2 * np.linalg.slogdet(psi)[1]
            + d / 2 * (math.log(_KAPPA) - math.log(kappa))
        )

    def of_split(self, one: Ints, other: Ints, alpha: float) -> float:
        """ln H of splitting their union into these two; that of merging them is its negative."""
        both = np.concatenate([one, other])
        apart = gammaln(len(one)) + self.log(one) + gammaln(len(other)) + self.log(other)
        return float(math.log(alpha) + apart - gammaln(len(both)) - self.log(both))


def _means(points: Points, labels: Ints, weights: Points) -> Points:
    total = np.zeros((int(labels.max()) + 1, points.shape[1]))
    np.add.at(total, labels, points)
    found: Points = total / np.bincount(labels, minlength=len(total))[:, None]
    return found


def _principal(points: Points, most: int) -> Points:
    """Points along their first principal directions; as they are where there are no more."""
    if points.shape[1] <= most:
        return points
    centred = points - points.mean(0)
    axes = np.linalg.svd(centred, full_matrices=False)[2][:most]
    found: Points = centred @ axes.T
    return found


plugin = Mixture
