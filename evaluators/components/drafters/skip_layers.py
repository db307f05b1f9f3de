"""Skip-set self-drafting: the target without some of its layers drafts for the whole of it.

A fixed set of layers is left out, by a rule or calibrated, as of `depths/fixed`; the first and the
last layer always run. The draft keeps a cache of its own, for its keys come of altered states.
Equivalences: a window of 1 drafts nothing; skipping nothing drafts what the target says.
Source: Zhang et al., "Draft & Verify" (ACL 2024, arXiv:2309.08168).
"""

from __future__ import annotations

from typing import Any

from paretoken.evaluators.engine.drafter import DraftMemory, Shape
from paretoken.evaluators.engine.model_drafts import ModelDrafter, ModelDrafts
from paretoken.evaluators.shortening.skip_sets import BY_RULE, CALIBRATED, set_of
from paretoken.spaces.component import knob


class SkipLayers(ModelDrafter):
    """Let the target guess with fewer layers."""

    window: int = knob(
        4, low=1, high=64, grid=(2, 3, 4, 6), log=True, doc="Tokens a target forward sees."
    )
    skipped: float = knob(
        0.3, low=0.0, high=1.0, grid=(0.1, 0.2, 0.3, 0.5), doc="Share of the inner layers left out."
    )
    spread: str = knob(
        "evenly", among=(*BY_RULE, *CALIBRATED),
        doc="Which: every so many-th, a block, or found by calibration.",
    )  # fmt: skip

    def runs(self, target: Any) -> tuple[bool, ...]:
        """Which layers of a target draft."""
        return set_of(target, self.skipped, str(self.spread))

    def memory(self, shape: Shape) -> DraftMemory:
        kept = [layer for layer, runs in enumerate(self.runs(shape.target)) if runs]
        return ModelDrafts(shape.target.with_layers(kept), shape, self)


plugin = SkipLayers
