"""Input-guided aggressive decoding: the text to be rewritten is the draft of what is written.

It begins with the whole source (as much as the window takes). After a divergence it finds its way
back: if the last token of the answer occurs exactly once in the source, drafting goes on behind it;
if it occurs more often, the last two tokens decide, then three, up to `ngram`; without a unique
place there is no draft. For answers that resemble their input; prompts without a source get none.
Source: Sun et al. (ACL 2021, arXiv:2106.04970); Ge et al. (2022, arXiv:2205.10350); microsoft/unilm
decoding/IAD.
"""

from __future__ import annotations

import torch

from paretoken.evaluators.engine.drafter import DraftMemory, Shape
from paretoken.evaluators.engine.history import History
from paretoken.evaluators.engine.proposal import Proposal
from paretoken.evaluators.engine.windowed import Windowed
from paretoken.spaces.component import knob


class Aggressive(Windowed):
    """Expect the source to be copied."""

    window: int = knob(
        17, low=1, high=64, grid=(5, 9, 17, 33), log=True, doc="Tokens a target forward sees."
    )
    ngram: int = knob(3, low=1, high=8, grid=(1, 3), doc="Most tokens by which to find back.")

    def memory(self, shape: Shape) -> DraftMemory:
        return _Source(self, shape)


class _Source(History):
    def __init__(self, drafter: Aggressive, shape: Shape) -> None:
        self._ngram = int(drafter.ngram)
        super().__init__(shape, drafter.most)

    def propose(self, drafts: int) -> Proposal:
        begin, end = self.source.unbind(-1)
        written = self.end - self.start
        places = torch.arange(self.board.shape[1], device=begin.device)
        after = torch.where(written == 0, begin, -drafts)
        undecided = written > 0
        for size in range(1, self._ngram + 1):
            inside = (places >= (begin + size - 1).unsqueeze(-1)) & (places < end.unsqueeze(-1))
            found = self.repeats(size) & inside
            count = found.sum(-1)
            undecided = undecided & (written >= size) & (count > 0)
            unique = undecided & (count == 1)
            after = torch.where(unique, found.long().argmax(-1) + 1, after)
            undecided = undecided & ~unique
        return self.copied(after.unsqueeze(-1), end, drafts)


plugin = Aggressive
