"""Verifiers of trees that go down level by level, from what stands to one of its continuations.

Nodes are the same where their tokens from the root are: of drafts side by side that begin alike,
all go on together, however the tree is wired. So the drafts offered at a level are those that
continue the tokens that stand; a rule says which of them is taken, if any, and what follows if
none is. Drafts past the level are untouched by that choice, which makes it lossless level by level.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import NamedTuple, cast

import torch
from torch import Tensor

from paretoken.evaluators.engine.geometry import Geometry
from paretoken.evaluators.engine.laws import at
from paretoken.evaluators.engine.proposal import Proposal, Verdict
from paretoken.evaluators.engine.tree import levels, tree_of
from paretoken.evaluators.engine.verifier import Chance, Residual, Verifier


class Level(NamedTuple):
    """One level of a tree: p [B, V], the target's law there. laws [B, n, V] and tokens [B, n] of
    its drafts, offered [B, n] bool, those that continue what stands. chance [B, n], uniforms."""

    p: Tensor
    laws: Tensor
    tokens: Tensor
    offered: Tensor
    chance: Tensor


class ByLevel(Verifier):
    """Takes one draft of a level, or draws another token and stops."""

    modality = "text"
    renews_chance = True
    decided_by = cast("tuple[str, ...]", ("select", "take"))

    @abstractmethod
    def take(self, level: Level) -> tuple[Tensor, Tensor]:
        """Which draft is taken [B] (n: none), and the law of the token if none is [B, V]; where
        none is offered, p."""

    def select(
        self,
        laws: Tensor,
        proposal: Proposal,
        residual: Residual,
        chance: Chance,
        geometry: Geometry,
    ) -> Verdict:
        tokens, (rows, nodes) = proposal.tokens, proposal.tokens.shape
        last = torch.zeros(rows, dtype=torch.int64, device=tokens.device)  # the slot that stands
        accepted, law = torch.zeros_like(last), laws[:, 0]
        if not nodes:
            return Verdict(tokens, accepted, law)
        tree = tree_of(proposal.parents, tokens.device)
        same = torch.ones(rows, 1, dtype=torch.bool, device=tokens.device)  # in the level above
        for at_once in levels(proposal.parents):
            offered = same[:, tree.above[at_once]] & proposal.valid[:, at_once]
            level = Level(
                law,
                proposal.laws[:, at_once],
                tokens[:, at_once],
                offered,
                chance.accept[:, at_once],
            )
            taken, rest = self.take(level)
            width = offered.shape[1]
            stands = (taken < width).unsqueeze(-1)
            index = taken.clamp(max=width - 1).unsqueeze(-1)
            same = offered & stands & (level.tokens == level.tokens.gather(1, index))
            slot = at_once.start + 1 + index
            last = torch.where(stands, slot, last.unsqueeze(-1)).squeeze(-1)
            accepted = accepted + stands.squeeze(-1)
            law = torch.where(stands, at(laws, last), rest)
        return Verdict(tree.lineage[(last - 1).clamp_min(0)], accepted, law)
