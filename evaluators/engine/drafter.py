"""Drafters: who proposes tokens for the target to check."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor

from paretoken.evaluators.engine.length import Length
from paretoken.evaluators.engine.proposal import Proposal, Verdict
from paretoken.evaluators.engine.sampling import Sampling
from paretoken.spaces.component import Component


@dataclass(frozen=True)
class Shape:
    """What a drafter's memory is for: B rows of N tokens over V values on a grid `width` wide.

    target, sampling, stop, cache: the model that checks the drafts, its sampling law, the length
    rule, and what the model remembers of the rows, for drafters that look at the prompt or at the
    model's states, or draft with a model of their own. prompts: those that will be answered, [n],
    or None where any may be.
    """

    batch: int
    length: int
    vocabulary: int
    width: int
    device: torch.device
    dtype: torch.dtype
    target: Any = None
    sampling: Sampling | None = None
    stop: Length | None = None
    cache: Any = None
    prompts: Tensor | None = None


@dataclass(frozen=True)
class Round:
    """One finished round, as a drafter sees it.

    laws: [B, W, V] target laws. verdict: what was kept. lengths: [B], the slots of the window (or
    levels of the tree) that belong to each row. count: [B] committed tokens, tokens: [B, N + pad]
    with this round's written.
    """

    laws: Tensor
    proposal: Proposal
    verdict: Verdict
    lengths: Tensor
    count: Tensor
    tokens: Tensor


class DraftMemory(Protocol):
    """What a drafter remembers between rounds, in tensors of fixed shape updated in place.

    capturable: whether its part of a round asks the host nothing, so that a CUDA graph may hold it.
    """

    capturable: bool

    def reset(self, rows: Tensor, ids: Tensor, seed: int, classes: Tensor) -> None:
        """Start samples `ids` [n] of classes or prompts [n] in batch rows `rows` [n]."""

    def propose(self, drafts: int) -> Proposal:
        """Up to `drafts` guesses for every row; a row has those that are valid, at its front. Of a
        tree, so many levels."""

    def observe(self, finished: Round) -> None:
        """Learn from a round and prepare the next guesses."""


class Drafter(Component):
    """Proposes tokens. `window` is the number of tokens a target forward sees at most."""

    kind = "drafters"

    # Whether it looks tokens up in the target's corpus, which its drafts then depend on.
    asks_corpus = False
    # Whether it drafts with the target's trained head.
    asks_head = False

    @property
    def most(self) -> int:
        """Tokens that one target forward sees at most, the pending one included; of a tree, those
        of one of its paths."""
        return 1

    @property
    def nodes(self) -> int:
        """Drafts of a round at most; more than `most` - 1 where they are a tree."""
        return self.most - 1

    @property
    def independent(self) -> bool:
        """Whether drafts beside each other are independent draws of one law."""
        return False

    def alone(self) -> Drafter:
        """What it is with one chain of drafts; itself, unless it drafts a tree."""
        return self

    @property
    def shares_noise(self) -> bool:
        """Whether the drafts come from the noise that decides the target's draw, so that equality
        is the verification (`SharedNoise`)."""
        return True

    @property
    def drafts_afresh(self) -> bool:
        """Whether drafts depend on earlier rounds only through the tokens that stand."""
        return True

    @property
    def has_law(self) -> bool:
        """Whether drafts come from a law of the drafter's own, which a length rule may look at."""
        return False

    @property
    def ragged(self) -> bool:
        """Whether rows may have fewer drafts than asked for, so that a shorter window will do."""
        return False

    @abstractmethod
    def memory(self, shape: Shape) -> DraftMemory:
        """A fresh memory; its `reset` is called for each sample before the first round."""
