"""Geometry of the vocabulary: which tokens mean nearly the same, by three notions of distance."""

from __future__ import annotations

import json
from functools import cache
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from paretoken.evaluators.clusters.clustering import Clustering
from paretoken.spaces.candidate import from_tree, to_tree

Space = Literal["embedding", "codebook", "normalised"]
SPACES: tuple[Space, ...] = ("normalised", "codebook", "embedding")

# Above this many tokens, quantiles of pairwise distance come from a fixed subset of rows, and
# distances are computed where they are asked for instead of looked up.
_EXACT_QUANTILE = _TABLE = 2048


class Clusters(NamedTuple):
    """A fixed partition of the vocabulary.

    labels: [V] int64, the cluster of each token. order: [V], tokens cluster by cluster. starts:
    [V], where the list of each token's cluster begins in it. number: of clusters. largest: tokens
    of the largest.
    """

    labels: Tensor
    order: Tensor
    starts: Tensor
    number: int
    largest: int


class Geometry:
    """Distances between tokens, computed once per model and kept.

    embedding: [V, D] rows of the transformer's input table. codebook: [V, C] rows of the image
    tokenizer's codebook; "normalised" is the codebook on the unit sphere, as decoding uses it.
    """

    def __init__(self, embedding: Tensor, codebook: Tensor) -> None:
        rows = {"embedding": embedding.float(), "codebook": codebook.float()}
        rows["normalised"] = torch.nn.functional.normalize(rows["codebook"], dim=-1)
        self._rows = rows
        self.vocabulary = embedding.shape[0]
        self.neighbours = cache(self._neighbours)
        self.quantile = cache(self._quantile)
        self._partition = cache(self._clusters)
        self._table = cache(self._all_distances)

    def squared_distance(self, space: Space, x: Tensor, y: Tensor) -> Tensor:
        """Squared Euclidean distance of tokens x and y, of one broadcast shape; 0 for x = y."""
        if self.vocabulary <= _TABLE:
            return self._table(space)[x * self.vocabulary + y]
        rows = self._rows[space]
        return (rows[x] - rows[y]).square().sum(-1)

    def _all_distances(self, space: Space) -> Tensor:
        """Of every two tokens, [V * V]."""
        rows = self._rows[space]
        return torch.cat([(row - rows).square().sum(-1) for row in rows])

    def _from(self, space: Space, tokens: Tensor) -> Tensor:
        """Squared distances [n, V] from some tokens to all."""
        rows = self._rows[space]
        return torch.cdist(rows[tokens], rows, compute_mode="donot_use_mm_for_euclid_dist").square()

    def _neighbours(self, space: Space, k: int) -> Tensor:
        """The k nearest other tokens of each token, nearest first: [V, min(k, V - 1)] int64."""
        k = min(k, self.vocabulary - 1)
        device = self._rows[space].device
        found = []
        for tokens in torch.split(torch.arange(self.vocabulary, device=device), 1024):
            distance = self._from(space, tokens)
            distance.scatter_(1, tokens.unsqueeze(1), torch.inf)  # a token is not its own neighbour
            order = distance.sort(dim=1, stable=True).indices
            found.append(order[:, :k])
        return torch.cat(found)

    def _quantile(self, space: Space, share: float) -> float:
        """The squared distance below which lies that share of all pairs of different tokens."""
        device = self._rows[space].device
        step = max(1, self.vocabulary // _EXACT_QUANTILE)
        tokens = torch.arange(0, self.vocabulary, step, device=device)
        distance = self._from(space, tokens)[:, tokens]
        pairs = distance[~torch.eye(len(tokens), dtype=torch.bool, device=device)].sort().values
        return float(pairs[min(len(pairs) - 1, int(share * len(pairs)))])

    def clusters(self, space: Space, clustering: Clustering) -> Clusters:
        """The partition that a clustering makes of the tokens of one space."""
        return self._partition(space, json.dumps(to_tree(clustering), sort_keys=True))

    def _clusters(self, space: Space, tree: str) -> Clusters:
        clustering = from_tree(json.loads(tree), "clusterings")
        assert isinstance(clustering, Clustering)
        rows = self._rows[space]
        found = clustering.partition(rows.double().cpu().numpy())
        labels, order, starts = (
            torch.from_numpy(table).to(rows.device)
            for table in (found.labels, found.order, found.starts[found.labels])
        )
        return Clusters(labels, order, starts, len(found), int(found.sizes.max()))
