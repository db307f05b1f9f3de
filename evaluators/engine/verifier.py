"""Verifiers: which drafts are kept, and from which law the next token comes."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple, cast

import torch
from torch import Tensor

from paretoken.evaluators.engine.geometry import Geometry
from paretoken.evaluators.engine.laws import at, draw_at, leading
from paretoken.evaluators.engine.proposal import Proposal, Verdict
from paretoken.evaluators.kernels import fused
from paretoken.spaces.component import Component
from paretoken.spaces.errors import BadInput


@dataclass(frozen=True)
class Chance:
    """The random numbers of one round, and what else a rule may look at.

    accept: [B, D] uniforms. gumbel: noise [B, P, V] of every position, or None. place: [B, D + 1],
    the position that each slot predicts. own: [B, D + 1, V], the model's own laws at temperature 1,
    for rules that ask for them (`Verifier.asks_model`).
    """

    accept: Tensor
    gumbel: Tensor | None = None
    place: Tensor | None = None
    own: Tensor | None = None


class Residual(Component):
    """The law of the next token after a rejection, under a per-token verifier."""

    kind = "residuals"

    @abstractmethod
    def law(self, p: Tensor, q: Tensor, ratio: Callable[[], Tensor]) -> Tensor:
        """p, q: [B, V] target and draft law of the rejected slot. ratio(): [B, V], the verifier's
        likelihood ratio of every token there, computed only if asked for. Returns [B, V]."""


class Verifier(Component):
    """Maps target laws, draft laws, drafts and chance to an accepted path and the next law.

    Joint rules (block, tree, several drafts, shared noise) override `select` itself; rules that
    test one token at a time derive from `PerToken` and say no more than their likelihood ratio.
    """

    kind = "verifiers"

    # A joint rule's claim to emit the target's law: `law.source_digest` of the source that passed
    # the conformance suite. A changed source makes the claim void until it has passed again. Rules
    # that test one token at a time claim nothing: their law is computed.
    passed = ""
    # Whether the rule looks at the model's own law beside the one that tokens are drawn from: under
    # greedy decoding the latter is certain of one token, and says nothing of the others.
    asks_model = False
    # The methods whose source decides the law.
    decided_by = cast("tuple[str, ...]", ("select",))
    # Whether it takes drafts side by side: none, those that are drawn independently, or any tree.
    branches = "none"
    # Whether the uniforms of a slot are new in every round. A rule that looks past the first draft
    # it refuses has to ask for that: a uniform it has seen says something about the position.
    renews_chance = False

    @abstractmethod
    def select(
        self,
        laws: Tensor,
        proposal: Proposal,
        residual: Residual,
        chance: Chance,
        geometry: Geometry,
    ) -> Verdict:
        """laws: [B, D + 1, V], the target's law at the root and after each node, float32 or up."""


class PerToken(Verifier):
    """A verifier that accepts a draft x with probability min(1, ratio(x)), slot by slot.

    The law emitted at a verified slot is q*a + (1 - E_q a) * residual with a = min(1, ratio); it is
    the target law p exactly if q*a <= p everywhere and the residual is norm(p - q*a).
    """

    @property
    def relaxes_only(self) -> bool:
        """Whether ratio >= p/q everywhere: then matched and exact residual coincide."""
        return True

    @abstractmethod
    def ratio(
        self, p: Tensor, q: Tensor, tokens: Tensor, slot: Tensor, geometry: Geometry
    ) -> Tensor:
        """The relaxed likelihood ratio of `tokens`, the exact rule's being p/q.

        p, q: [..., V]. tokens: [..., K] int64. slot: broadcastable to [..., K], 0 for the first
        draft of the window. Returns [..., K], non-negative; may be inf where q is 0.
        """

    def acceptance(
        self,
        p: Tensor,
        q: Tensor,
        tokens: Tensor,
        slot: Tensor,
        geometry: Geometry,
        own: Tensor | None = None,
    ) -> Tensor:
        """a(x) = min(1, ratio(x)), and 0 where the target forbids the token; shapes as `ratio`.

        own: [..., V], the model's own laws, where the rule `asks_model`.
        """
        ratio = self.ratio(p, q, tokens, slot, geometry)
        if fused(ratio.device) and ratio.dim() == 3 and ratio.shape[-1] == 1:
            from paretoken.evaluators.kernels import verify as kernels

            return kernels.clip(ratio, p, tokens)
        allowed = p.gather(-1, tokens) > 0
        return torch.where(allowed, ratio.nan_to_num(nan=0.0, posinf=1.0), 0.0).clamp(max=1.0)

    def select(
        self,
        laws: Tensor,
        proposal: Proposal,
        residual: Residual,
        chance: Chance,
        geometry: Geometry,
    ) -> Verdict:
        if not proposal.is_chain:
            raise BadInput(
                f"{self.tag()} tests one chain of drafts, but was given a tree with parents "
                f"{proposal.parents}: use a verifier with a joint rule."
            )
        depth = proposal.tokens.shape[1]
        slots = torch.arange(depth, device=laws.device)
        path = slots.expand(laws.shape[0], -1)
        if depth == 0:  # no drafts: the next law is the target's
            return Verdict(path, path.sum(-1), laws[:, 0])
        p, q = laws[:, :depth], proposal.laws
        own = None if chance.own is None else chance.own[:, :depth]
        tokens = proposal.tokens.unsqueeze(-1)
        a = self.acceptance(p, q, tokens, slots.view(1, -1, 1), geometry, own)
        kept = keep(a.squeeze(-1), chance.accept, proposal.valid, laws, q)

        def ratio_of_all() -> Tensor:
            everything = torch.arange(laws.shape[-1], device=laws.device).expand_as(kept.p)
            last = kept.accepted.clamp(max=depth - 1).unsqueeze(-1)
            ratio = self.ratio(kept.p, kept.q, everything, last, geometry)
            return torch.where(kept.p > 0, ratio.nan_to_num(nan=0.0), 0.0)

        corrected = residual.law(kept.p, kept.q, ratio_of_all)
        return Verdict(path, kept.accepted, torch.where(kept.rejected, corrected, kept.following))


class Kept(NamedTuple):
    """Which drafts of a chain stand, and the laws where it ends.

    accepted: [B]. rejected: [B, 1] bool, whether a draft was refused. p, q: [B, V], target and
    draft law of the refused slot, or of the last one. following: [B, V], the target's law behind
    the accepted drafts.
    """

    accepted: Tensor
    rejected: Tensor
    p: Tensor
    q: Tensor
    following: Tensor


def keep(a: Tensor, chance: Tensor, valid: Tensor, laws: Tensor, q: Tensor) -> Kept:
    """Test drafts one after another: a, chance, valid [B, D], laws [B, D + 1, V], q [B, D, V]."""
    if fused(a.device, laws.shape[-1]):
        from paretoken.evaluators.kernels import verify as kernels

        return Kept(*kernels.keep(a, chance, valid, laws, q))
    # Strictly smaller: a token of probability zero is never accepted.
    accepted = leading((chance < a) & valid)
    last = accepted.clamp(max=a.shape[1] - 1)
    rejected = (accepted < valid.sum(-1)).unsqueeze(-1)
    return Kept(accepted, rejected, at(laws, last), at(q, last), at(laws, accepted))


class SharedNoise(Verifier):
    """Equality under Gumbel noise fixed per position: a draft is kept if the target draws it too.

    Token for token the plain decoder's output, whatever the drafts. A joint rule: the same noise
    decides draft and target. Not a plug-in: the drafter's coupling implies it.
    """

    passed = "86c3f4e501cd18a7"

    def select(
        self,
        laws: Tensor,
        proposal: Proposal,
        residual: Residual,
        chance: Chance,
        geometry: Geometry,
    ) -> Verdict:
        assert chance.gumbel is not None and chance.place is not None
        fresh = draw_at(laws, chance.gumbel, chance.place)
        depth = proposal.tokens.shape[1]
        accepted = leading((fresh[:, :depth] == proposal.tokens) & proposal.valid)
        slots = torch.arange(depth, device=laws.device).expand(laws.shape[0], -1)
        return Verdict(slots, accepted, None, fresh)
