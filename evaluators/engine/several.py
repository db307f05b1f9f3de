"""Drafters of text that can draft several continuations at a time."""

from __future__ import annotations

from typing import cast

from paretoken.evaluators.engine.drafter import Drafter
from paretoken.evaluators.engine.windowed import Windowed
from paretoken.spaces.component import knob


class Several(Windowed):
    """Drafts chains side by side, each as long as the window has room for.

    A forward sees the pending token and all chains. With one chain it is a drafter as any other.
    """

    drafts: int = knob(
        1, low=1, high=8, grid=(1, 2, 4), doc="Drafts side by side, where the verifier takes trees."
    )

    @property
    def nodes(self) -> int:
        return int(self.drafts) * (self.most - 1)

    def alone(self) -> Drafter:
        return self if self.drafts == 1 else cast(Drafter, self.clone(override={"drafts": 1}))
