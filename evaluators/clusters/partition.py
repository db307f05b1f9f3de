"""Partition: every code in one cluster, and the tables that training and decoding read.

Clusters are numbered by their smallest member, so that equal partitions are equal tables, whatever
algorithm or seed found them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import xxhash
from numpy.typing import NDArray

from paretoken.spaces.errors import BadInput

_VERSION = b"paretoken partition 1"

Ints = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Partition:
    """labels: int64 [V], the cluster of every code, as `Partition.of` numbers them."""

    labels: Ints

    @classmethod
    def of(cls, labels: NDArray[np.integer[Any]]) -> Partition:
        """The partition of any labels [V], renumbered; raises BadInput where there is no code."""
        if labels.ndim != 1 or not len(labels):
            raise BadInput(f"a partition is of 1 code or more, not of shape {labels.shape}.")
        _, first, inverse = np.unique(labels, return_index=True, return_inverse=True)
        number = np.empty(len(first), dtype=np.int64)
        number[np.argsort(first, kind="stable")] = np.arange(len(first))
        return cls(number[inverse])

    @classmethod
    def finest(cls, vocabulary: int) -> Partition:
        """Every code by itself."""
        return cls(np.arange(vocabulary, dtype=np.int64))

    def __len__(self) -> int:
        """Clusters."""
        return int(self.labels.max()) + 1

    @property
    def vocabulary(self) -> int:
        """Codes."""
        return len(self.labels)

    @property
    def is_finest(self) -> bool:
        """Whether every code has a cluster of its own."""
        return len(self) == self.vocabulary

    @cached_property
    def sizes(self) -> Ints:
        """Codes of each cluster, int64 [k]."""
        return np.bincount(self.labels, minlength=len(self)).astype(np.int64)

    @cached_property
    def order(self) -> Ints:
        """Codes cluster by cluster, ascending in each, int64 [V]."""
        return np.argsort(self.labels, kind="stable").astype(np.int64)

    @cached_property
    def starts(self) -> Ints:
        """Where each cluster begins in `order`, int64 [k]."""
        return np.concatenate([[0], np.cumsum(self.sizes)[:-1]]).astype(np.int64)

    @cached_property
    def rank(self) -> Ints:
        """The place of every code in its cluster, int64 [V]."""
        found = np.empty(self.vocabulary, dtype=np.int64)
        found[self.order] = np.arange(self.vocabulary) - self.starts[self.labels[self.order]]
        return found

    def members(self, cluster: int) -> Ints:
        """The codes of one cluster, ascending."""
        start = int(self.starts[cluster])
        return self.order[start : start + int(self.sizes[cluster])]

    @cached_property
    def digest(self) -> str:
        """xxh3-128: equal for equal partitions."""
        return xxhash.xxh3_128_hexdigest(_VERSION + self.labels.astype("<i8").tobytes())

    def entropies(self, counts: NDArray[np.integer[Any]]) -> tuple[float, float]:
        """Bits of a code's cluster, and of the code where that is known, at so many counts [V]."""
        coarse = np.bincount(self.labels, weights=counts, minlength=len(self))
        of_coarse = entropy(coarse)
        return of_coarse, entropy(counts) - of_coarse


def entropy(counts: NDArray[Any]) -> float:
    """Bits of a law that is proportional to counts."""
    law = counts[counts > 0] / counts.sum()
    return float(-(law * np.log(law)).sum() / math.log(2.0))
