"""Tree verification: try a node's children one after another, each against what the others left.

A child x of law q stands with probability min(1, p(x) / q(x)); if it does not, p becomes
norm([p - q]+) for the next one. If none stands, the next token comes from the p that is left.
Lossless for any tree that is drafted level by level: for children that are drawn independently, for
those drawn without replacement (each from the law that its elder siblings left), and for trees that
are certain of their tokens, where it is the same law as drawing from p and going down if that token
is a child.
Equivalences: one chain makes it the exact rule; under greedy decoding the target's favourite is
taken wherever it is a child.
Source: Miao et al., "SpecInfer" (ASPLOS 2024, arXiv:2305.09781), multi-step speculative sampling;
for trees that are certain: Li et al., "EAGLE" (ICML 2024, arXiv:2401.15077).
"""

from __future__ import annotations

import torch
from torch import Tensor

from paretoken.evaluators.engine.by_level import ByLevel, Level
from paretoken.evaluators.engine.laws import normalised


class TreeWise(ByLevel):
    """Go down the tree as far as its children stand."""

    passed = "571f0bbd59223388"
    branches = "any"

    def take(self, level: Level) -> tuple[Tensor, Tensor]:
        p, width = level.p, level.tokens.shape[1]
        taken = torch.full_like(level.tokens[:, 0], width)
        for child in range(width):
            tried = level.offered[:, child] & (taken == width)
            x, q = level.tokens[:, child].unsqueeze(-1), level.laws[:, child]
            wanted = p.gather(-1, x).squeeze(-1)
            # As a product, so that nothing is divided by zero; nothing forbidden stands.
            stands = level.chance[:, child] * q.gather(-1, x).squeeze(-1) < wanted
            taken = torch.where(tried & stands, child, taken)
            left = normalised((p - q).clamp_min(0.0), otherwise=p)
            p = torch.where((tried & ~stands).unsqueeze(-1), left, p)
        return taken, p


plugin = TreeWise
