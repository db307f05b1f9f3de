"""Drafts from a tri-gram table: each row searches the table as its own text has nudged it.

Drafts are certain of themselves. The tokens that stand are read from the device once a round.
"""

from __future__ import annotations

from random import Random

import torch
from torch import Tensor

from paretoken.evaluators.engine.drafter import Round, Shape
from paretoken.evaluators.engine.laws import one_hot
from paretoken.evaluators.engine.proposal import Proposal
from paretoken.evaluators.engine.puct import Search
from paretoken.evaluators.engine.trigrams import Nudged, Trigrams


class TableDrafts:
    """Chains of drafts for B rows. boost, cap, span: see `components/drafters/trigram.py`."""

    capturable = False

    def __init__(self, shape: Shape, search: Search, boost: float, cap: float, span: int) -> None:
        self._shape, self._search = shape, search
        self._boost, self._cap, self._span = boost, cap, span
        self._corpus: Trigrams = shape.target.trigrams()
        self._rows = [_Row([], Nudged(self._corpus, boost, cap), "") for _ in range(shape.batch)]

    def reset(self, rows: Tensor, ids: Tensor, seed: int, classes: Tensor) -> None:
        for row, name, prompt in zip(rows.tolist(), ids.tolist(), classes.tolist(), strict=True):
            told = self._shape.target.contexts[prompt].tokens.tolist()
            table = Nudged(self._corpus, self._boost, self._cap)
            table.hear(told[-self._span :])
            self._rows[row] = _Row(told, table, f"{seed} {name}")

    def propose(self, drafts: int) -> Proposal:
        shape = self._shape
        chains = [row.drafted(self._search, drafts, shape.length) for row in self._rows]
        longest = max(map(len, chains))
        valid = torch.tensor([[i < len(chain) for i in range(longest)] for chain in chains])
        padded = [chain + [0] * (longest - len(chain)) for chain in chains]
        tokens = torch.tensor(padded, dtype=torch.int64, device=shape.device)
        return Proposal(
            tokens,
            one_hot(tokens, shape.vocabulary, shape.dtype),
            valid.to(shape.device, torch.bool),
            tuple(range(-1, longest - 1)),
        )

    def observe(self, finished: Round) -> None:
        told = zip(self._rows, finished.tokens.tolist(), finished.count.tolist(), strict=True)
        for row, tokens, count in told:
            if row.text and len(row.answer) < count:
                row.answer = tokens[:count]
                row.table.hear((row.text + row.answer)[-self._span :])


class _Row:
    """A row's prompt, its answer so far, its table, and what its random numbers are called."""

    def __init__(self, text: list[int], table: Nudged, name: str) -> None:
        self.text, self.table, self._name = text, table, name
        self.answer: list[int] = []

    def drafted(self, search: Search, drafts: int, length: int) -> list[int]:
        """Up to so many drafts; none for a row that is done with its answer or has none to give."""
        if not drafts or not self.text or len(self.answer) >= length:
            return []
        a, b = (self.text[-2:] + self.answer)[-2:]
        chance = Random(f"{self._name} {len(self.answer)}")
        return search.chain(self.table.after, a, b, drafts, chance)
