"""Block verification: drafts stand or fall together, which keeps more of them. Lossless.

With w_0 = 1 and w_i = min(1, w_(i-1) * p_i(x_i) / q_i(x_i)), draft i is a place to end with
probability h_i = S_i / (S_i + 1 - w_i), S_i = sum of [w_i * p_(i+1) - q_(i+1)]+, and h of the last
draft is its w. The longest such place is taken, and the next token comes from
norm([w * p - q]+) there, or from p behind the last draft. On average no fewer drafts stand than
under the token-by-token rule, of which it is the joint optimum.
Equivalences: one draft, or drafts that are certain of themselves, make it the exact rule.
Source: Sun et al., "Block verification accelerates speculative decoding" (2024, arXiv:2403.10444).
"""

from __future__ import annotations

import torch
from torch import Tensor

from paretoken.evaluators.engine.geometry import Geometry
from paretoken.evaluators.engine.laws import at, normalised
from paretoken.evaluators.engine.proposal import Proposal, Verdict
from paretoken.evaluators.engine.verifier import Chance, Residual, Verifier
from paretoken.spaces.errors import BadInput


class Block(Verifier):
    """Keep the longest run of drafts whose joint probability allows it."""

    modality = "text"
    passed = "c2952d2c995e53c4"
    renews_chance = True

    def select(
        self,
        laws: Tensor,
        proposal: Proposal,
        residual: Residual,
        chance: Chance,
        geometry: Geometry,
    ) -> Verdict:
        if not proposal.is_chain:
            raise BadInput(f"{self.tag()} verifies one chain of drafts: use a rule for trees.")
        rows, depth = proposal.tokens.shape
        path = torch.arange(depth, device=laws.device).expand(rows, -1)
        if depth == 0:
            return Verdict(path, path.sum(-1), laws[:, 0])
        p, q = laws[:, :depth], proposal.laws
        chosen = proposal.tokens.unsqueeze(-1)
        ratio = (p.gather(-1, chosen) / q.gather(-1, chosen)).squeeze(-1)
        weight = [torch.ones(rows, dtype=p.dtype, device=p.device)]
        for slot in range(depth):
            weight.append((weight[-1] * ratio[:, slot]).clamp(max=1.0))
        w = torch.stack(weight, 1)  # [B, D + 1]
        count = proposal.valid.sum(-1)
        short = (w[:, :-1, None] * p - q).clamp_min(0.0).sum(-1)
        # Zero by zero: w = 1 and nothing short, so that p = q, and any place will do.
        h = (short / (short + 1.0 - w[:, :-1])).nan_to_num(nan=1.0)
        places = torch.arange(depth + 1, device=laws.device)
        ends = torch.cat([h[:, 1:], w[:, -1:]], dim=1)  # of drafts 1 … D
        ends = torch.where(places[1:] == count.unsqueeze(-1), w[:, 1:], ends)
        stands = (chance.accept < ends) & proposal.valid
        accepted = (stands * places[1:]).amax(-1)
        whole = accepted == count
        last = accepted.clamp(max=depth - 1)
        own = w.gather(1, accepted.unsqueeze(-1)) * at(p, last) - at(q, last)
        following = at(laws, accepted)
        rest = normalised(own.clamp_min(0.0), otherwise=following)
        return Verdict(path, accepted, torch.where(whole.unsqueeze(-1), following, rest))


plugin = Block
