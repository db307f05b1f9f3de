"""Clusterings make partitions: tables that fit, sizes as promised, near codes together."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from paretoken.evaluators.clusters.clustering import Clustering
from paretoken.evaluators.clusters.lloyd import lloyd, spread_centres
from paretoken.evaluators.clusters.partition import Partition, entropy
from paretoken.evaluators.components.clusterings import balanced as balanced_module
from paretoken.evaluators.components.clusterings.mixture import Evidence
from paretoken.spaces.candidate import from_tree, to_tree
from paretoken.spaces.canonical import canonical
from paretoken.spaces.errors import BadInput
from paretoken.spaces.plugins import KINDS

Points = NDArray[np.float64]

COUNTED = ("kmeans", "balanced", "agglomerative", "random")
RNG = np.random.default_rng(7)
POINTS = RNG.normal(size=(60, 4))


def clustering(name: str, **knobs: Any) -> Clustering:
    found = from_tree({"is": f"clusterings/{name}", **knobs}, "clusterings")
    assert isinstance(found, Clustering)
    return found


def codebook() -> Points:
    """Twelve codes in four bundles, in turn."""
    dice = np.random.default_rng(0)
    centres = dice.normal(size=(4, 5))
    return np.asarray(centres[np.arange(12) % 4] + 0.1 * dice.normal(size=(12, 5)))


@pytest.mark.parametrize("name", KINDS["clusterings"].names())
def test_tables_of_a_partition_fit_together(name: str) -> None:
    found = clustering(name).partition(POINTS)
    members = [found.members(cluster) for cluster in range(len(found))]
    assert sorted(itertools.chain(*members)) == list(range(60))
    for code in range(60):
        cluster = found.labels[code]
        assert members[cluster][found.rank[code]] == code
    assert found.sizes.tolist() == [len(of) for of in members]
    assert [min(of) for of in members] == sorted(min(of) for of in members)  # the numbering


@pytest.mark.parametrize("metric", ["euclidean", "cosine"])
@pytest.mark.parametrize("name", COUNTED)
def test_there_are_as_many_clusters_as_asked_for(name: str, metric: str) -> None:
    for clusters in (1, 2, 7, 31, 59, 60, 1000):
        found = clustering(name, clusters=clusters, metric=metric).partition(POINTS)
        assert len(found) == min(clusters, 60)
    assert clustering(name, clusters=60).partition(POINTS).is_finest


def test_even_where_codes_lie_on_one_another() -> None:
    points = np.repeat(POINTS[:3], 4, axis=0)
    for name in COUNTED:
        assert len(clustering(name, clusters=5).partition(points)) == 5


@pytest.mark.parametrize("clusters", [2, 7, 9, 30, 59])
@pytest.mark.parametrize("name", ["balanced", "random"])
def test_sizes_differ_by_one_at_most(name: str, clusters: int) -> None:
    sizes = clustering(name, clusters=clusters).partition(POINTS).sizes
    assert sizes.max() - sizes.min() == (60 % clusters > 0)


@pytest.mark.parametrize("clusters", [2, 7, 9, 30])
def test_the_greedy_assignment_is_as_balanced(
    clusters: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(balanced_module, "_EXACT", 10)
    sizes = clustering("balanced", clusters=clusters).partition(POINTS).sizes
    assert sizes.max() - sizes.min() == (60 % clusters > 0)


def test_the_exact_assignment_is_the_best_of_all() -> None:
    """Against every balanced assignment of six codes to three places."""
    apart = np.random.default_rng(3).random((6, 3))
    found = balanced_module._assigned(apart, np.ones(6))
    every = (of for of in itertools.product(range(3), repeat=6) if sorted(of) == [0, 0, 1, 1, 2, 2])
    best = min(sum(apart[i, c] for i, c in enumerate(of)) for of in every)
    assert sum(apart[i, c] for i, c in enumerate(found)) == pytest.approx(best, abs=1e-12)


def test_rounds_of_lloyd_never_loosen_the_clusters() -> None:
    means = clustering("kmeans").means
    even = np.ones(60)
    centres = spread_centres(POINTS, even, 6, np.random.default_rng(0))
    loose = [lloyd(POINTS, even, centres, rounds, means)[1] for rounds in range(1, 12)]
    assert loose[0] > loose[-1] and all(a >= b for a, b in itertools.pairwise(loose))


@pytest.mark.parametrize("name", ["kmeans", "balanced", "agglomerative"])
def test_bundles_are_found_and_chance_does_not_find_them(name: str) -> None:
    """Four bundles in turn; the negative control mixes them."""
    expected = [i % 4 for i in range(12)]
    assert clustering(name, clusters=4).partition(codebook()).labels.tolist() == expected
    assert clustering("random", clusters=4).partition(codebook()).labels.tolist() != expected


def test_usage_draws_means_and_unused_codes_join_the_nearest() -> None:
    line = np.array([[0.0], [1.0], [10.0], [11.0], [30.0]])
    unused = np.array([5.0, 5.0, 5.0, 5.0, 0.0])
    # The lonely code would have a cluster of its own, were it used.
    assert clustering("kmeans", clusters=2).partition(line).labels.tolist() == [0, 0, 0, 0, 1]
    found = clustering("kmeans", clusters=2).partition(line, unused)
    assert found.labels.tolist() == [0, 0, 1, 1, 1]
    # Heavy codes are told apart before light ones are.
    line = np.array([[0.0], [3.0], [10.0], [13.5]])
    heavy = np.array([1000.0, 1000.0, 1.0, 1.0])
    even = clustering("kmeans", clusters=3, weighting="uniform").partition(line, heavy)
    by_use = clustering("kmeans", clusters=3, weighting="usage").partition(line, heavy)
    assert even.labels.tolist() == [0, 0, 1, 2]
    assert by_use.labels.tolist() == [0, 1, 2, 2]


def test_the_cosine_sees_directions_only() -> None:
    angles = np.array([0.0, 0.1, 2.0, 2.1])
    points = np.stack([np.cos(angles), np.sin(angles)], axis=1) * np.array([[1], [50], [50], [1]])
    assert clustering("kmeans", clusters=2, metric="cosine").partition(points).labels.tolist() == [
        0, 0, 1, 1
    ]  # fmt: skip
    far = clustering("kmeans", clusters=2, metric="euclidean").partition(points)
    assert far.labels.tolist() != [0, 0, 1, 1]


def test_equal_partitions_are_one_whoever_found_them() -> None:
    found = {clustering(name, clusters=4).partition(codebook()).digest
             for name in ("kmeans", "balanced", "agglomerative")}  # fmt: skip
    assert len(found) == 1
    seeds = {clustering("kmeans", clusters=4, seed=s).partition(codebook()).digest for s in (1, 2)}
    assert seeds == found
    assert clustering("random", clusters=4).partition(codebook()).digest not in found
    assert Partition.of(np.array([7, 7, 2])).labels.tolist() == [0, 0, 1]


def test_agglomerative_partitions_are_nested() -> None:
    coarse, fine = (
        clustering("agglomerative", clusters=k).partition(POINTS).labels for k in (5, 20)
    )
    assert len(set(zip(coarse.tolist(), fine.tolist(), strict=True))) == 20


def test_entropies_add_up() -> None:
    counts = np.random.default_rng(1).integers(0, 50, size=60)
    for name in KINDS["clusterings"].names():
        found = clustering(name).partition(POINTS)
        coarse, fine = found.entropies(counts)
        inside = 0.0
        for cluster in range(len(found)):
            of = counts[found.members(cluster)]
            if of.sum():
                law = of[of > 0] / of.sum()
                inside -= of.sum() / counts.sum() * float((law * np.log2(law)).sum())
        # Sums of 60 terms of size 1 in two orders.
        assert fine == pytest.approx(inside, abs=1e-9)
        assert coarse + fine == pytest.approx(entropy(counts), abs=1e-9)


def test_settings_that_say_nothing_are_dropped() -> None:
    usual = {"clusters": 4}
    assert canonical(clustering("random", **usual, metric="cosine")) == canonical(
        clustering("random", **usual)
    )
    assert canonical(clustering("agglomerative", **usual, weighting="usage")) == canonical(
        clustering("agglomerative", **usual)
    )
    one = {str(to_tree(canonical(clustering(name, clusters=1)))) for name in COUNTED}
    assert len(one) == 1
    two = {str(to_tree(canonical(clustering(name, clusters=2)))) for name in COUNTED}
    assert len(two) == len(COUNTED)


def test_points_that_are_none_are_refused() -> None:
    with pytest.raises(BadInput, match="finite"):
        clustering("kmeans").partition(np.full((4, 2), np.nan))
    with pytest.raises(BadInput, match="1 code"):
        Partition.of(np.empty(0, dtype=np.int64))


# ----------------------------------------------------------------------- the number found out


def blobs(apart: float, seed: int = 0) -> Any:
    dice = np.random.default_rng(seed)
    return np.concatenate(
        [0.05 * dice.normal(size=(n, 3)) + at for n, at in ((50, 0), (70, apart))]
    )


@pytest.mark.parametrize("k_init", [1, 2, 3, 8, 30])
def test_two_blobs_are_two_clusters_wherever_it_begins(k_init: int) -> None:
    found = clustering("mixture", k_init=k_init).partition(blobs(1.0))
    assert found.labels.tolist() == [0] * 50 + [1] * 70
    # The negative control: where they lie on one another there is one.
    assert len(clustering("mixture", k_init=k_init).partition(blobs(0.0))) == 1


def test_alpha_is_a_dial_and_its_ends_are_one_and_many() -> None:
    counts = [len(clustering("mixture", alpha=a).partition(POINTS)) for a in (1e-30, 1e10, 1e30)]
    assert counts[0] == 1 and counts == sorted(counts) and counts[-1] > 2


def test_neither_end_of_the_variance_expected_splits_a_sphere() -> None:
    """A half of points in d dimensions costs (d + 1) d / 2 ln(1 / psi) beside the whole."""
    points = np.random.default_rng(0).normal(size=(300, 4))
    points /= np.linalg.norm(points, axis=1, keepdims=True)
    counts = [
        len(clustering("mixture", alpha=1e10, psi_scale=psi, k_init=4).partition(points))
        for psi in (1e-6, 0.1, 10.0)
    ]
    assert counts[0] == counts[2] == 1 and counts[1] > 4


def test_the_evidence_is_the_product_of_its_predictions() -> None:
    """ln m(X) = sum of ln p(x_i | x_1 … x_(i-1)), each a Student law: written out here."""
    from scipy.stats import multivariate_t

    points = RNG.normal(size=(9, 2))
    evidence = Evidence(points, 0.3)
    d, kappa0, nu0 = 2, 1e-4, 3.0
    mu0, psi0 = points.mean(0), 0.3 * np.eye(2)
    total = 0.0
    for i in range(9):
        x = points[:i]
        n = len(x)
        kappa, nu = kappa0 + n, nu0 + n
        mean = x.mean(0) if n else np.zeros(2)
        mu = (kappa0 * mu0 + n * mean) / kappa
        off = (mean - mu0)[:, None]
        psi = psi0 + (x - mean).T @ (x - mean) + (kappa0 * n / kappa) * (off @ off.T)
        df = nu - d + 1
        shape = psi * (kappa + 1) / (kappa * df)
        total += float(multivariate_t(mu, shape, df).logpdf(points[i]))
    found = evidence.log(np.arange(9))
    # Nine terms of size 10 in float64, and gamma functions to 1e-14 of their size.
    assert found == pytest.approx(total, abs=1e-9)
    assert evidence.log(np.array([3, 1, 2])) == pytest.approx(evidence.log(np.array([1, 2, 3])))
    one, other = np.arange(4), np.arange(4, 9)
    expected = (
        math.log(2.5) + math.lgamma(4) + math.lgamma(5) - math.lgamma(9)
        + evidence.log(one) + evidence.log(other) - found
    )  # fmt: skip
    assert evidence.of_split(one, other, 2.5) == pytest.approx(expected, abs=1e-9)
