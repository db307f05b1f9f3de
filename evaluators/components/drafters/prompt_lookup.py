"""Prompt lookup: what followed the last few tokens when they occurred before is the draft.

The longest suffix of at most `ngram` tokens that occurs earlier in prompt and answer wins, at its
first (transformers) or latest occurrence; what follows there is copied. No occurrence, no draft.
Drafts are certain of themselves, and need no model: an empty one costs a plain step. Several drafts
at a time are the next best occurrences, those that go on with another token each.
Equivalences: a window of 1 drafts nothing; verifiers of chains see the first draft alone.
Source: Saxena, "Prompt lookup decoding" (2023); `prompt_lookup_num_tokens` and
`max_matching_ngram_size` of Hugging Face transformers.
"""

from __future__ import annotations

import torch

from paretoken.evaluators.engine.drafter import DraftMemory, Shape
from paretoken.evaluators.engine.history import History
from paretoken.evaluators.engine.proposal import Proposal
from paretoken.evaluators.engine.several import Several
from paretoken.spaces.component import knob


class PromptLookup(Several):
    """Copy what came next the last time."""

    window: int = knob(
        8, low=1, high=64, grid=(3, 5, 8, 11, 17), log=True, doc="Tokens a target forward sees."
    )
    ngram: int = knob(2, low=1, high=8, grid=(1, 2, 3, 4), doc="Longest suffix that is looked up.")
    which: str = knob("first", among=("first", "latest"), doc="The occurrence that is copied.")

    def memory(self, shape: Shape) -> DraftMemory:
        return _Lookup(self, shape)


class _Lookup(History):
    def __init__(self, drafter: PromptLookup, shape: Shape) -> None:
        self._ngram, self._first = int(drafter.ngram), drafter.which == "first"
        self._drafts = int(drafter.drafts)
        super().__init__(shape, drafter.most)

    def propose(self, drafts: int) -> Proposal:
        size = self.board.shape[1]
        places = torch.arange(size, device=self.board.device)
        order = size - 1 - places if self._first else places
        matched = torch.zeros_like(self.board)
        for ngram in range(1, self._ngram + 1):  # who matches more matches less as well
            matched += self.repeats(ngram)
        # Longer matches before shorter ones, and equal ones in their order.
        merit = torch.where(matched > 0, matched * size + order, -1)
        after = []
        for draft in range(self._drafts):
            best, place = merit.max(-1)
            # A row without a match begins before the board, where nothing is valid.
            after.append(torch.where(best >= 0, place + 1, -drafts))
            if draft + 1 < self._drafts:
                token = self.board.gather(1, (place + 1).clamp(max=size - 1).unsqueeze(-1))
                merit = torch.where(self.board.roll(-1, dims=1) == token, -1, merit)
        return self.copied(torch.stack(after, 1), self.end, drafts)


plugin = PromptLookup
