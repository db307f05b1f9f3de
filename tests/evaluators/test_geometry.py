"""Geometry of the vocabulary: neighbours, quantiles of distance and clusters, against loops."""

from __future__ import annotations

import itertools
from typing import cast

import pytest
import torch
from torch import Tensor

from paretoken.evaluators.clusters.clustering import Clustering
from paretoken.evaluators.engine import geometry as module
from paretoken.evaluators.engine.geometry import SPACES, Geometry, Space
from paretoken.spaces.candidate import from_tree

V = 37


def points(seed: int = 0, vocabulary: int = V) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    embedding = torch.randn(vocabulary, 5, generator=generator)
    return embedding, 3 * torch.randn(vocabulary, 3, generator=generator)


def rows_of(space: Space) -> Tensor:
    embedding, codebook = points()
    if space == "normalised":
        return codebook / codebook.square().sum(-1, keepdim=True).sqrt()
    return {"embedding": embedding, "codebook": codebook}[space]


def distances(space: Space) -> list[list[float]]:
    rows = rows_of(space).tolist()
    return [[sum((a - b) ** 2 for a, b in zip(x, y, strict=True)) for y in rows] for x in rows]


@pytest.mark.parametrize("space", SPACES)
def test_distance_is_that_of_the_chosen_space(space: Space) -> None:
    found = Geometry(*points())
    expected = torch.tensor(distances(space))
    x, y = torch.meshgrid(torch.arange(V), torch.arange(V), indexing="ij")
    table = found.squared_distance(space, x, y)
    # Sums of five float32 squares of size 100: 5 * 100 * 2**-24 = 3e-5.
    assert torch.allclose(table, expected, rtol=0, atol=1e-4)
    assert torch.equal(table, table.T)
    assert bool((table.diagonal() == 0).all())
    assert bool((table >= 0).all())


@pytest.mark.parametrize("k", [1, 5, V - 1])
@pytest.mark.parametrize("space", SPACES)
def test_neighbours_are_the_nearest_others_nearest_first(space: Space, k: int) -> None:
    table = distances(space)
    found = Geometry(*points()).neighbours(space, k)
    assert found.shape == (V, k)
    for x, near in enumerate(found.tolist()):
        assert x not in near
        assert near == sorted(set(range(V)) - {x}, key=lambda y: table[x][y])[:k]


def test_no_token_has_more_neighbours_than_there_are_others() -> None:
    found = Geometry(*points())
    assert torch.equal(found.neighbours("codebook", 16384), found.neighbours("codebook", V - 1))
    assert found.neighbours("codebook", 0).shape == (V, 0)


def test_a_token_is_not_its_own_neighbour_even_among_equal_ones() -> None:
    """Unused codes often coincide: distance 0 to others, too."""
    same = torch.zeros(6, 2)
    near = Geometry(same, same).neighbours("codebook", 3)
    assert all(x not in row for x, row in enumerate(near.tolist()))


def test_neighbours_do_not_depend_on_how_many_are_computed_at_once() -> None:
    embedding, codebook = points(vocabulary=1500)  # more than one part of 1,024
    found = Geometry(embedding, codebook).neighbours("codebook", 4)
    for x in (0, 1023, 1024, 1499):
        distance = (codebook - codebook[x]).square().sum(-1)
        distance[x] = torch.inf
        assert found[x].tolist() == distance.sort().indices[:4].tolist()


@pytest.mark.parametrize("space", SPACES)
def test_quantile_is_the_distance_below_which_lies_that_share_of_pairs(space: Space) -> None:
    found, table = Geometry(*points()), distances(space)
    pairs = sorted(table[x][y] for x, y in itertools.permutations(range(V), 2))
    for share in (0.0, 0.01, 0.2, 0.5, 0.99, 1.0):
        limit = found.quantile(space, share)
        expected = pairs[min(len(pairs) - 1, int(share * len(pairs)))]
        assert limit == pytest.approx(expected, abs=1e-4)  # float32, as above
        below = sum(distance < limit - 1e-4 for distance in pairs) / len(pairs)
        # A pair counts twice, once from either end, and the one at the limit may not count.
        assert abs(below - share) <= 3 / len(pairs)


def test_quantile_of_a_large_vocabulary_comes_from_a_fixed_subset(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    embedding, codebook = points(vocabulary=1200)
    exact = Geometry(embedding, codebook).quantile("codebook", 0.3)
    monkeypatch.setattr(module, "_EXACT_QUANTILE", 300)
    subset = [Geometry(embedding, codebook).quantile("codebook", 0.3) for _ in range(2)]
    assert subset[0] == subset[1]
    assert subset[0] != exact
    # 300 of 1,200 tokens, drawn without regard to place: a few parts in a hundred.
    assert subset[0] == pytest.approx(exact, rel=0.1)


@pytest.mark.parametrize("space", SPACES)
def test_clusters_are_those_of_the_space_that_is_named(space: Space) -> None:
    embedding, codebook = points()
    clustering = cast(
        Clustering, from_tree({"is": "clusterings/kmeans", "clusters": 5}, "clusterings")
    )
    found = Geometry(embedding, codebook).clusters(space, clustering)
    expected = clustering.partition(rows_of(space).double().numpy())
    assert found.labels.tolist() == expected.labels.tolist()
    assert (found.number, found.largest) == (5, expected.sizes.max())
    for token in range(V):
        start = int(found.starts[token])
        members = expected.members(int(found.labels[token])).tolist()
        assert found.order[start : start + len(members)].tolist() == members


def test_what_was_computed_is_kept() -> None:
    found = Geometry(*points())
    assert found.neighbours("codebook", 3) is found.neighbours("codebook", 3)
    one, equal = (
        cast(Clustering, from_tree({"is": "clusterings/kmeans", "clusters": 3}, "clusterings"))
        for _ in range(2)
    )
    assert found.clusters("codebook", one) is found.clusters("codebook", equal)
