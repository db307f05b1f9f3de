"""Drafters of text whose window is a knob of their own."""

from __future__ import annotations

from paretoken.evaluators.components.drafters.none import NoDraft
from paretoken.evaluators.engine.drafter import Drafter
from paretoken.spaces.component import Component, knob


class Windowed(Drafter):
    """Drafts as many tokens as its window has room for, or fewer; with a window of 1, none."""

    modality = "text"

    window: int = knob(
        5, low=1, high=64, grid=(2, 3, 5, 8), log=True, doc="Tokens a target forward sees."
    )

    @property
    def most(self) -> int:
        return int(self.window)

    @property
    def shares_noise(self) -> bool:
        return bool(self.window == 1)  # plain decoding, down to its very tokens

    @property
    def ragged(self) -> bool:
        return True

    def simplified(self) -> Component:
        return NoDraft() if self.window == 1 else self
