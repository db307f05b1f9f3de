"""What passes between drafter and verifier: a tree of drafts, and what became of it."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from paretoken.evaluators.engine.tree import levels


@dataclass(frozen=True)
class Proposal:
    """Drafts for one round: a tree of D nodes under the pending token; a chain is the plainest.

    tokens: [B, D] int64. laws: [B, D, V], what each token was drawn from, knowing its elder
    siblings; one-hot for a token that is certain (V is 0 where shared noise verifies: nobody reads
    them). valid: [B, D] bool, the nodes that count (rows draft to different lengths). parents: for
    each node the index of its parent, -1 for the pending token; the same for all rows, and nodes
    come level by level. k independent drafts are k chains that start at -1.
    """

    tokens: Tensor
    laws: Tensor
    valid: Tensor
    parents: tuple[int, ...]

    @property
    def is_chain(self) -> bool:
        """Whether each node continues the one before it."""
        return self.parents == tuple(range(-1, len(self.parents) - 1))

    def filled(self) -> int:
        """Nodes down to the deepest level that any row has; asks the device."""
        if self.is_chain:
            return int(self.valid.sum(-1).max())
        found = (level.stop for level in levels(self.parents) if self.valid[:, level].any())
        return max(found, default=0)

    def first(self, drafts: int) -> Proposal:
        """The first `drafts` nodes alone."""
        return Proposal(
            self.tokens[:, :drafts],
            self.laws[:, :drafts],
            self.valid[:, :drafts],
            self.parents[:drafts],
        )


@dataclass(frozen=True)
class Verdict:
    """What a verifier decided in one round.

    path: the accepted nodes in order, padded at the end, int64; [B, D], or [B, levels] of a tree.
    accepted: [B] int64, how many of them count. law: [B, V], the law of the token that follows the
    accepted path; None where the rule drew tokens itself. fresh: those, [B, D + 1] int64, one for
    every slot; drafters may reuse them.
    """

    path: Tensor
    accepted: Tensor
    law: Tensor | None
    fresh: Tensor | None = None
