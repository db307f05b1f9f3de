"""A small draft model: a second, quicker model of the same tokens drafts for the target.

The workload names it (`--option draft=PATH`). Drafts come from its law under the target's sampling
rule. Equivalence: a window of 1 drafts nothing.
Source: Leviathan, Kalman and Matias (2023, arXiv:2211.17192); Chen et al. (2023, arXiv:2302.01318).
"""

from __future__ import annotations

from paretoken.evaluators.components.drafters.none import NoDraft
from paretoken.evaluators.engine.drafter import Drafter, DraftMemory, Shape
from paretoken.evaluators.engine.model_drafts import ModelDrafts
from paretoken.spaces.component import Component, knob


class SmallModel(Drafter):
    """Let a small model guess what the large one would say."""

    modality = "text"

    window: int = knob(
        5, low=1, high=64, grid=(2, 3, 5, 8), log=True, doc="Tokens a target forward sees."
    )

    @property
    def most(self) -> int:
        return int(self.window)

    @property
    def shares_noise(self) -> bool:
        return bool(self.window == 1)

    @property
    def has_law(self) -> bool:
        return True

    @property
    def ragged(self) -> bool:
        return True

    def memory(self, shape: Shape) -> DraftMemory:
        return ModelDrafts(shape.target.small(), shape, self.most - 1)

    def simplified(self) -> Component:
        return NoDraft() if self.window == 1 else self


plugin = SmallModel
