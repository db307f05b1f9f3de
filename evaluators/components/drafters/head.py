"""A trained draft head: one small layer foretells the target's states, and so its next tokens.

The head comes with the embedded model, or from a file (`--option head=FILE`) that was trained for
the target by `python -m paretoken.evaluators.workloads.text.train_head`. Drafts come from its law
under the target's sampling rule.
Departures: a chain in place of a tree.
Equivalence: a window of 1 drafts nothing.
Source: Li et al., EAGLE (ICML 2024, arXiv:2401.15077).
"""

from __future__ import annotations

from paretoken.evaluators.engine.drafter import DraftMemory, Shape
from paretoken.evaluators.engine.head_drafts import HeadDrafts
from paretoken.evaluators.engine.windowed import Windowed
from paretoken.spaces.component import knob


class Head(Windowed):
    """Let a layer trained on the target's states guess what it will say."""

    asks_head = True

    window: int = knob(
        4, low=1, high=64, grid=(2, 3, 4, 5, 6), log=True, doc="Tokens a target forward sees."
    )

    @property
    def has_law(self) -> bool:
        return True

    def memory(self, shape: Shape) -> DraftMemory:
        return HeadDrafts(shape.target.head(), shape, self.most - 1)


plugin = Head
