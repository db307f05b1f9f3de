"""k-SEQ: k independent drafts, tried one after another by one threshold. Lossless.

Each draft x of law q stands with probability min(1, p(x) / (rho q(x))), which comes to
beta = sum of min(q, p / rho); one of k does with 1 - (1 - beta)^k, at least 1 - (1 - 1/k)^k of
what any rule can reach. If none does, the next token comes of
[p - min(q, p / rho) (1 - (1 - beta)^k) / beta] / (1 - beta)^k, which is a law for every rho that
has 1 - (1 - beta)^k <= rho beta: the smallest such rho is taken. Drafts that begin alike go on
together, and rho is computed anew for those that are left. Computed in float64. Not for drafts that
exclude each other: `tree` is.
Equivalence: one draft makes it the exact rule.
Source: Sun et al., "SpecTr" (NeurIPS 2023, arXiv:2310.15141).
"""

from __future__ import annotations

import torch
from torch import Tensor

from paretoken.evaluators.engine.by_level import ByLevel, Level
from paretoken.evaluators.engine.laws import at, normalised

# Halvings of the interval in which rho lies; its upper end is lossless after any number of them.
_HALVINGS = 24


class KSeq(ByLevel):
    """Let the target choose among several drafts."""

    passed = "5b8afcae88c3c902"
    decided_by = ("select", "take", "smallest", "unmet")
    branches = "independent"

    def take(self, level: Level) -> tuple[Tensor, Tensor]:
        width, count = level.tokens.shape[1], level.offered.sum(-1, keepdim=True)
        p = level.p.double()
        # Those that are left stand behind the same tokens, and are drawn from one law.
        q = at(level.laws, level.offered.long().argmax(-1)).double()
        rho = self.smallest(p, q, count)
        wanted, drawn = (law.gather(-1, level.tokens) for law in (p, q))
        # As a product, so that nothing is divided by zero; nothing forbidden stands.
        stands = level.offered & (level.chance * rho * drawn < wanted)
        places = torch.arange(width, device=count.device)
        taken = torch.where(stands, places, width).amin(-1)
        mass = self.unmet(p, q, rho, count).clamp_min(0.0)
        rest = normalised(mass, otherwise=p).to(level.p.dtype)
        return taken, torch.where(count > 0, rest, level.p)

    @staticmethod
    def smallest(p: Tensor, q: Tensor, count: Tensor) -> Tensor:
        """The smallest rho [B, 1] in 1 … count that is lossless, from above; p, q: [B, V]."""
        low, high = torch.ones_like(p[:, :1]), count.clamp_min(1).to(p.dtype)
        for _ in range(_HALVINGS):
            rho = (low + high) / 2
            beta = torch.minimum(q, p / rho).sum(-1, keepdim=True)
            lossless = 1.0 - (1.0 - beta).clamp_min(0.0) ** count <= rho * beta
            low, high = torch.where(lossless, low, rho), torch.where(lossless, rho, high)
        return high

    @staticmethod
    def unmet(p: Tensor, q: Tensor, rho: Tensor, count: Tensor) -> Tensor:
        """What p has more of than `count` drafts let through, [B, V]; never below 0 but for
        rounding, and in all the probability that none stands."""
        met = torch.minimum(q, p / rho)
        beta = met.sum(-1, keepdim=True)
        one_of_all = 1.0 - (1.0 - beta).clamp_min(0.0) ** count
        each = torch.where(beta > 0, one_of_all / beta.clamp_min(torch.finfo(p.dtype).tiny), 0.0)
        return p - met * each


plugin = KSeq
