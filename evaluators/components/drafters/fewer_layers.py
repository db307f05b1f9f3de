"""The target with layers left out by any depth, and what was learnt for it, drafts for the whole.

A lossy router is a lossless drafter: what it says is checked by all layers, with the matrices as
they were. Prompts that leave out the same layers draft together.
Equivalences: a window of 1 drafts nothing; a fixed set without LoRA is `drafters/skip_layers`.
Sources: Zhang et al., "Draft & Verify" (ACL 2024, arXiv:2309.08168); the depths' own.
"""

from __future__ import annotations

from paretoken.evaluators.components.depths.fixed import Fixed
from paretoken.evaluators.components.drafters.skip_layers import SkipLayers
from paretoken.evaluators.engine.depth import Depth
from paretoken.evaluators.engine.drafter import DraftMemory, Shape
from paretoken.evaluators.engine.model_drafts import ModelDrafter, ModelDrafts
from paretoken.spaces.component import Component, knob, part


class FewerLayers(ModelDrafter):
    """Let a shortened target guess what the whole would say."""

    window: int = knob(
        4, low=1, high=64, grid=(2, 3, 4, 6), log=True, doc="Tokens a target forward sees."
    )
    depth: Depth = part("depths", default="by_prompt", doc="Which layers draft for which token.")

    def memory(self, shape: Shape) -> DraftMemory:
        model = shape.target.shortened(self.depth, shape.prompts)
        return ModelDrafts(model, shape, self)

    def simplified(self) -> Component:
        if not isinstance(self.depth, Fixed) or self.depth.rank or self.window == 1:
            return super().simplified()
        return SkipLayers(
            window=self.window,
            drafts=self.drafts,
            choice=self.choice,
            skipped=self.depth.skipped,
            spread=self.depth.spread,
        )


plugin = FewerLayers
