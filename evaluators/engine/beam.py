"""A beam: the best drafts of an answer so far, and those that have ended.

Of all candidates the best D that do not end stay alive; one that ends is finished if it is among
the best D of all. A prompt is done once D have finished, and at its last token all are.
Source: the beam search of Hugging Face transformers with early_stopping.
"""

from __future__ import annotations

import torch
from torch import Tensor

from paretoken.spaces.errors import MeasurementFailed


class Beam:
    """D drafts of up to N tokens for each of B prompts, updated without asking the device.

    scores: [B, D] float64, of the alive drafts, the best first. ends: tokens that end a draft.
    power: a finished draft is ranked by score / length ** power. open: [B], not done yet.
    """

    def __init__(
        self, prompts: int, drafts: int, length: int, ends: Tensor, power: float = 1.0
    ) -> None:
        self.drafts, self._length, self._ends, self._power = drafts, length, ends, power
        device = ends.device
        self._tokens = torch.zeros(prompts, drafts, length, dtype=torch.int64, device=device)
        self._finished = torch.zeros_like(self._tokens)
        nothing = torch.full((prompts, drafts), -torch.inf, dtype=torch.float64, device=device)
        self._ranks, self.scores = nothing, torch.zeros_like(nothing)
        self.open = torch.ones(prompts, dtype=torch.bool, device=device)
        self._step = 0

    def candidates(self, vocabulary: int) -> int:
        """Of each draft so many best tokens are enough: even if all that can end do, D stay."""
        wanted = self.drafts + len(self._ends)
        if wanted > vocabulary:
            raise MeasurementFailed(
                "unsupported",
                f"{self.drafts} drafts beside {len(self._ends)} tokens that end one need a "
                f"vocabulary of {wanted}, and this one has {vocabulary}: keep fewer drafts.",
            )
        return wanted

    def advance(self, gains: Tensor, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """Go on by one token. gains, tokens: [B, D, T], what a candidate adds to its draft's score.

        At the first token all drafts are alike, so that only the first one counts.
        Returns the drafts [B, D] that the alive ones continue, and their last tokens [B, D].
        """
        scores = self.scores.unsqueeze(-1) + gains
        if self._step == 0:
            scores[:, 1:] = -torch.inf
        parents = torch.arange(self.drafts, device=scores.device).view(1, -1, 1).expand_as(tokens)
        scores, order = scores.flatten(1).sort(dim=-1, descending=True, stable=True)
        parents, tokens = (part.flatten(1).gather(1, order) for part in (parents, tokens))
        ends = torch.isin(tokens, self._ends)
        self._finish(scores[:, : self.drafts], parents, tokens, ends)
        alive = scores.masked_fill(ends, -torch.inf).sort(dim=-1, descending=True, stable=True)
        self.scores, best = alive.values[:, : self.drafts], alive.indices[:, : self.drafts]
        parents, tokens = parents.gather(1, best), tokens.gather(1, best)
        self._tokens = _lines(self._tokens, parents)
        self._tokens[..., self._step] = tokens
        self._step += 1
        return parents, tokens

    def best(self, wanted: int) -> Tensor:
        """The best finished drafts [B, wanted, N], the best first; their end is repeated."""
        return self._finished[:, :wanted]

    def _finish(self, scores: Tensor, parents: Tensor, tokens: Tensor, ends: Tensor) -> None:
        best = slice(0, self.drafts)
        lines = _lines(self._tokens, parents[:, best])
        lines[..., self._step :] = tokens[:, best].unsqueeze(-1)
        over = ends[:, best] if self._step + 1 < self._length else torch.ones_like(ends[:, best])
        over = over & self.open.unsqueeze(-1)
        ranks = (scores / (self._step + 1) ** self._power).masked_fill(~over, -torch.inf)
        every = torch.cat([self._ranks, ranks], dim=1).sort(dim=-1, descending=True, stable=True)
        self._ranks, kept = every.values[:, best], every.indices[:, best]
        self._finished = _lines(torch.cat([self._finished, lines], dim=1), kept)
        self.open = (self._ranks == -torch.inf).any(-1)


def _lines(tokens: Tensor, which: Tensor) -> Tensor:
    """Of the drafts' tokens [B, D, N] those of some drafts [B, D']."""
    return tokens.gather(1, which.unsqueeze(-1).expand(-1, -1, tokens.shape[-1]))
