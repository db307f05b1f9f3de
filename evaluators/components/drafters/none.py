"""No drafts: plain autoregressive decoding, one token a forward."""

from __future__ import annotations

import torch
from torch import Tensor

from paretoken.evaluators.engine.drafter import Drafter, DraftMemory, Round, Shape
from paretoken.evaluators.engine.proposal import Proposal


class NoDraft(Drafter):
    """Propose nothing."""

    def memory(self, shape: Shape) -> DraftMemory:
        return _Nothing(shape)


class _Nothing:
    capturable = True

    def __init__(self, shape: Shape) -> None:
        rows, device = shape.batch, shape.device
        self._empty = Proposal(
            tokens=torch.empty(rows, 0, dtype=torch.int64, device=device),
            laws=torch.empty(rows, 0, shape.vocabulary, dtype=shape.dtype, device=device),
            valid=torch.empty(rows, 0, dtype=torch.bool, device=device),
            parents=(),
        )

    def reset(self, rows: Tensor, ids: Tensor, seed: int, classes: Tensor) -> None:
        """Nothing is remembered."""

    def propose(self, drafts: int) -> Proposal:
        return self._empty

    def observe(self, finished: Round) -> None:
        """Nothing is learnt."""


plugin = NoDraft
