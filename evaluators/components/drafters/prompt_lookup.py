"""Prompt lookup: what followed the last few tokens when they occurred before is the draft.

The longest suffix of at most `ngram` tokens that occurs earlier in prompt and answer wins, at its
first (transformers) or latest occurrence; what follows there is copied. No occurrence, no draft.
Drafts are certain of themselves, and need no model: an empty one costs a plain step.
Source: Saxena, "Prompt lookup decoding" (2023); `prompt_lookup_num_tokens` and
`max_matching_ngram_size` of Hugging Face transformers.
"""

from __future__ import annotations

import torch

from paretoken.evaluators.engine.drafter import DraftMemory, Shape
from paretoken.evaluators.engine.history import History
from paretoken.evaluators.engine.proposal import Proposal
from paretoken.evaluators.engine.windowed import Windowed
from paretoken.spaces.component import knob


class PromptLookup(Windowed):
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
        super().__init__(shape, drafter.most)

    def propose(self, drafts: int) -> Proposal:
        after = torch.full_like(self.end, -1)
        for size in range(1, self._ngram + 1):  # a longer match takes the place of a shorter one
            found = self.repeats(size).long()
            place = found.argmax(-1)
            if not self._first:
                place = found.shape[1] - 1 - found.flip(-1).argmax(-1)
            after = torch.where(found.any(-1), place + 1, after)
        # A row without a match begins before the board, where nothing is valid.
        first = torch.where(after >= 0, after, -drafts)
        return self.copied(first, self.end, drafts)


plugin = PromptLookup
