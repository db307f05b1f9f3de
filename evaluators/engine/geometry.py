"""Geometry of the vocabulary: which tokens mean nearly the same, by three notions of distance."""

from __future__ import annotations

from functools import cache
from typing import Literal

import torch
from torch import Tensor

Space = Literal["embedding", "codebook", "normalised"]
SPACES: tuple[Space, ...] = ("normalised", "codebook", "embedding")

# Above this many tokens, quantiles of pairwise distance come from a fixed subset of rows, and
# distances are computed where they are asked for instead of looked up.
_EXACT_QUANTILE = _TABLE = 2048


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
        self.clusters = cache(self._clusters)
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

    def _clusters(self, space: Space, size: int) -> Tensor:
        """A fixed partition into groups of at most `size` near tokens: [V] int64 labels.

        Balanced bisection along the widest principal axis: deterministic, no seed to choose.
        """
        rows = self._rows[space].double().cpu()
        labels = torch.empty(self.vocabulary, dtype=torch.int64)
        waiting, count = [torch.arange(self.vocabulary)], 0
        while waiting:
            members = waiting.pop()
            if len(members) <= size:
                labels[members] = count
                count += 1
                continue
            centred = rows[members] - rows[members].mean(0)
            axis = torch.linalg.eigh(centred.T @ centred).eigenvectors[:, -1]
            axis = axis * axis[axis.abs().argmax()].sign()  # eigenvectors come with either sign
            order = members[(centred @ axis).sort(stable=True).indices]
            # Cut at a multiple of `size`, so that all groups but the last are full.
            half = max(1, len(members) // (2 * size)) * size
            waiting += [order[half:], order[:half]]
        return labels.to(self._rows[space].device)
