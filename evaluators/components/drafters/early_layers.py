"""Early-layer self-drafting: the first layers of the target, with its output head, are the draft.

Models that were not trained to exit early draft badly from their early layers; that costs speed,
never quality. The draft keeps a cache of its own, as in transformers' `assistant_early_exit`; the
keys of the first layers are not shared with the target's pass.
Equivalences: a window of 1 drafts nothing; all layers draft what the target says.
Source: Elhoushi et al., "LayerSkip" (ACL 2024, arXiv:2404.16710).
"""

from __future__ import annotations

from paretoken.evaluators.engine.drafter import DraftMemory, Shape
from paretoken.evaluators.engine.model_drafts import ModelDrafter, ModelDrafts
from paretoken.spaces.component import knob


class EarlyLayers(ModelDrafter):
    """Let the target's first layers guess what all of them would say."""

    window: int = knob(
        4, low=1, high=64, grid=(2, 3, 4, 6), log=True, doc="Tokens a target forward sees."
    )
    layers: int = knob(
        8, low=1, high=512, grid=(2, 4, 8, 16, 24), log=True,
        doc="How many of the first layers draft; more than there are means all.",
    )  # fmt: skip

    def memory(self, shape: Shape) -> DraftMemory:
        first = range(min(int(self.layers), shape.target.layers))
        return ModelDrafts(shape.target.with_layers(first), shape, self)


plugin = EarlyLayers
