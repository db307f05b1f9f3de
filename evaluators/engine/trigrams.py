"""A table of which token follows which two, counted in a corpus and nudged by what a row says.

Of every pair of tokens only the likeliest successors are kept. The table itself never changes, so
that a row's drafts do not depend on which rows came before: what a row adds stays with the row.
Source: Liu et al., "Adaptive Draft-Verification" (ADED, AAAI 2025, arXiv:2407.12021);
liuxukun2000/Adaptix, DraftRetriever.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cached_property

import numpy as np
import xxhash
from numpy.typing import NDArray

# Successors of a pair that are kept, as in the released code.
KEPT = 12

# Tokens with their weights, the heaviest first, equal ones by token.
Successors = list[tuple[int, float]]


class Trigrams:
    """P(c | a, b) for the pairs of a corpus.

    codes: int64 [P], sorted, of each pair a * vocabulary + b. first: int64 [P + 1], where a pair's
    successors begin in tokens [S] and weights [S].
    """

    def __init__(
        self,
        vocabulary: int,
        codes: NDArray[np.int64],
        first: NDArray[np.int64],
        tokens: NDArray[np.int64],
        weights: NDArray[np.float64],
    ) -> None:
        self.vocabulary = vocabulary
        self.codes, self.first, self.tokens, self.weights = codes, first, tokens, weights

    @classmethod
    def counted(cls, vocabulary: int, texts: Iterable[Sequence[int]]) -> Trigrams:
        """Counted over texts in tokens; a triple never spans two texts. vocabulary: < 2 million."""
        nothing = np.empty(0, dtype=np.int64)
        triples = [nothing]
        for text in texts:
            line = np.asarray(text, dtype=np.int64)
            if len(line) > 2:
                triples.append((line[:-2] * vocabulary + line[1:-1]) * vocabulary + line[2:])
        found, counts = np.unique(np.concatenate(triples), return_counts=True)
        pairs, tokens = np.divmod(found, vocabulary)
        order = np.lexsort((tokens, -counts, pairs))
        pairs, tokens, counts = pairs[order], tokens[order], counts[order]
        codes, first, sizes = np.unique(pairs, return_index=True, return_counts=True)
        whole = np.add.reduceat(counts, first) if len(first) else nothing
        weights = counts / np.repeat(whole, sizes)
        kept = np.arange(len(pairs)) - np.repeat(first, sizes) < KEPT
        begins = np.concatenate([[0], np.minimum(sizes, KEPT).cumsum()]).astype(np.int64)
        return cls(vocabulary, codes, begins, tokens[kept], weights[kept])

    @classmethod
    def none(cls) -> Trigrams:
        """Of no corpus."""
        return cls.counted(1, ())

    def after(self, a: int, b: int) -> Successors:
        """What followed a, b in the corpus."""
        code = a * self.vocabulary + b
        at = int(self.codes.searchsorted(code))
        if at == len(self.codes) or self.codes[at] != code:
            return []
        part = slice(self.first[at], self.first[at + 1])
        return list(zip(self.tokens[part].tolist(), self.weights[part].tolist(), strict=True))

    @cached_property
    def digest(self) -> str:
        """xxh3-128 of the whole table."""
        state = xxhash.xxh3_128(str(self.vocabulary).encode())
        for part in (self.codes, self.first, self.tokens, self.weights):
            state.update(np.ascontiguousarray(part).tobytes())
        return state.hexdigest()


class Nudged:
    """The table as one row sees it: every triple that it says weighs `boost` more each time."""

    def __init__(self, table: Trigrams, boost: float, cap: float) -> None:
        self._table, self._boost, self._cap = table, boost, cap
        self._added: dict[tuple[int, int], dict[int, float]] = {}
        self._known: dict[tuple[int, int], Successors] = {}

    def hear(self, tokens: Sequence[int]) -> None:
        """Take in a stretch of the row's text; one heard again counts again."""
        if not self._boost:
            return
        for a, b, c in zip(tokens, tokens[1:], tokens[2:], strict=False):
            added = self._added.setdefault((a, b), {})
            added[c] = added.get(c, 0.0) + self._boost
            self._known.pop((a, b), None)

    def after(self, a: int, b: int) -> Successors:
        """Successors of a pair with their weights, which need not sum to one."""
        known = self._known.get((a, b))
        if known is None:
            weights = dict(self._table.after(a, b))
            for token, added in self._added.get((a, b), {}).items():
                weights[token] = weights.get(token, 0.0) + added
            capped = [(token, min(self._cap, weight)) for token, weight in weights.items()]
            known = self._known[a, b] = sorted(capped, key=lambda one: (-one[1], one[0]))
        return known
