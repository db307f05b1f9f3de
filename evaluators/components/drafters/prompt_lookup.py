"""Prompt lookup: what followed the last few tokens when they occurred before is the draft.

The longest suffix of at most `ngram` tokens that occurs earlier in prompt and answer wins, at its
first (transformers) or latest occurrence; what follows there is copied. No occurrence, no draft.
Drafts are certain of themselves, and need no model: an empty one costs a plain step.
Source: Saxena, "Prompt lookup decoding" (2023); `prompt_lookup_num_tokens` and
`max_matching_ngram_size` of Hugging Face transformers.
"""

from __future__ import annotations

import torch
from torch import Tensor

from paretoken.evaluators.components.drafters.none import NoDraft
from paretoken.evaluators.engine.drafter import Drafter, DraftMemory, Round, Shape
from paretoken.evaluators.engine.history import History
from paretoken.evaluators.engine.proposal import Proposal
from paretoken.spaces.component import Component, knob


class PromptLookup(Drafter):
    """Copy what came next the last time."""

    modality = "text"

    window: int = knob(
        8, low=1, high=64, grid=(3, 5, 8, 11, 17), log=True, doc="Tokens a target forward sees."
    )
    ngram: int = knob(2, low=1, high=8, grid=(1, 2, 3, 4), doc="Longest suffix that is looked up.")
    which: str = knob("first", among=("first", "latest"), doc="The occurrence that is copied.")

    @property
    def most(self) -> int:
        return int(self.window)

    @property
    def shares_noise(self) -> bool:
        return bool(self.window == 1)

    @property
    def ragged(self) -> bool:
        return True

    def memory(self, shape: Shape) -> DraftMemory:
        return _Lookup(self, shape)

    def simplified(self) -> Component:
        return NoDraft() if self.window == 1 else self


class _Lookup:
    def __init__(self, drafter: PromptLookup, shape: Shape) -> None:
        self._ngram, self._first = int(drafter.ngram), drafter.which == "first"
        self._history = History(shape, drafter.most)

    def reset(self, rows: Tensor, ids: Tensor, seed: int, classes: Tensor) -> None:
        self._history.reset(rows, classes)

    def propose(self, drafts: int) -> Proposal:
        history = self._history
        after = torch.full_like(history.end, -1)
        for size in range(1, self._ngram + 1):  # a longer match takes the place of a shorter one
            found = history.repeats(size).long()
            place = found.argmax(-1)
            if not self._first:
                place = found.shape[1] - 1 - found.flip(-1).argmax(-1)
            after = torch.where(found.any(-1), place + 1, after)
        # A row without a match begins before the board, where nothing is valid.
        first = torch.where(after >= 0, after, -drafts)
        return history.copied(first, history.end, drafts)

    def observe(self, finished: Round) -> None:
        self._history.observe(finished)


plugin = PromptLookup
