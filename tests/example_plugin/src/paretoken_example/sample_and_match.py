"""Sample and match: the target draws its own token, and a draft stands if it is the same. Lossless.

A draft x stands with probability p(x), where the exact rule grants min(1, p(x) / q(x)): fewer
stand, and the draft's law is never asked for. Under greedy decoding, and for drafts that are
certain of themselves, both rules are one. mlx-lm and llama.cpp verify so.
Source: "naive sampling" of Miao et al., SpecInfer (ASPLOS 2024, arXiv:2305.09781).
"""

from __future__ import annotations

import torch
from torch import Tensor

from paretoken.evaluators.engine.geometry import Geometry
from paretoken.evaluators.engine.laws import at, draw, leading, one_hot
from paretoken.evaluators.engine.proposal import Proposal, Verdict
from paretoken.evaluators.engine.verifier import Chance, Residual, Verifier
from paretoken.spaces.errors import BadInput


class SampleAndMatch(Verifier):
    """Keep drafts as long as the target happens to draw them too."""

    passed = "1101fb7e8994e83b"  # the conformance suite prints it
    renews_chance = True  # a token drawn past the first mismatch must not be drawn again

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
        own = draw(laws[:, :depth], chance.accept)
        accepted = leading((own == proposal.tokens) & proposal.valid)
        mismatch = (accepted < proposal.valid.sum(-1)).unsqueeze(-1)
        drawn = own.gather(1, accepted.clamp(max=depth - 1).unsqueeze(-1)).squeeze(-1)
        certain = one_hot(drawn, laws.shape[-1], laws.dtype)
        return Verdict(path, accepted, torch.where(mismatch, certain, at(laws, accepted)))


plugin = SampleAndMatch
