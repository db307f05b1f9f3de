"""Drafters: who proposes tokens for the target to check."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from paretoken.evaluators.engine.proposal import Proposal, Verdict
from paretoken.spaces.component import Component


@dataclass(frozen=True)
class Shape:
    """What a drafter's memory holds: B rows of N tokens over V values on a grid `width` wide."""

    batch: int
    length: int
    vocabulary: int
    width: int
    device: torch.device
    dtype: torch.dtype


@dataclass(frozen=True)
class Round:
    """One finished round, as a drafter sees it.

    laws: [B, W, V] target laws. verdict: what was kept. lengths: [B], the slots of the window that
    belong to each row. count: [B] committed tokens, tokens: [B, N + pad] with this round's written.
    """

    laws: Tensor
    proposal: Proposal
    verdict: Verdict
    lengths: Tensor
    count: Tensor
    tokens: Tensor


class DraftMemory(Protocol):
    """What a drafter remembers between rounds, in tensors of fixed shape updated in place."""

    def reset(self, rows: Tensor, ids: Tensor, seed: int) -> None:
        """Start samples `ids` [n] in batch rows `rows` [n]."""

    def propose(self, drafts: int) -> Proposal:
        """The first `drafts` guesses of every row; all of them valid."""

    def observe(self, finished: Round) -> None:
        """Learn from a round and prepare the next guesses."""


class Drafter(Component):
    """Proposes tokens. `window` is the number of tokens a target forward sees at most."""

    kind = "drafters"

    @property
    def most(self) -> int:
        """Tokens that one target forward sees at most, the pending one included."""
        return 1

    @property
    def shares_noise(self) -> bool:
        """Whether the drafts come from the noise that decides the target's draw, so that equality
        is the verification (`SharedNoise`)."""
        return True

    @abstractmethod
    def memory(self, shape: Shape) -> DraftMemory:
        """A fresh memory; its `reset` is called for each sample before the first round."""
