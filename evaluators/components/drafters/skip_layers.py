"""Skip-set self-drafting: the target without some of its layers drafts for the whole of it.

A fixed set of layers is left out, spread evenly or as one block in the middle; the first and the
last layer always run. The draft keeps a cache of its own, for its keys come of altered states.
Equivalences: a window of 1 drafts nothing; skipping nothing drafts what the target says.
Source: Zhang et al., "Draft & Verify" (ACL 2024, arXiv:2309.08168), with a set given by rule in
place of one found by search.
"""

from __future__ import annotations

from paretoken.evaluators.engine.drafter import DraftMemory, Shape
from paretoken.evaluators.engine.model_drafts import ModelDrafter, ModelDrafts
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
        "evenly", among=("evenly", "middle"), doc="Which: every so many-th, or a block."
    )

    def memory(self, shape: Shape) -> DraftMemory:
        kept = kept_layers(shape.target.layers, self.skipped, self.spread)
        return ModelDrafts(shape.target.with_layers(kept), shape, self)


def kept_layers(layers: int, skipped: float, spread: str) -> tuple[int, ...]:
    """The layers of 0 … layers - 1 that run, with that share of the inner ones left out."""
    inner = max(0, layers - 2)
    count = round(skipped * inner)
    if spread == "middle":
        first = 1 + (inner - count) // 2
        out = set(range(first, first + count))
    else:  # the centres of `count` equal stretches
        out = {1 + (2 * i + 1) * inner // (2 * count) for i in range(count)}
    return tuple(i for i in range(layers) if i not in out)


plugin = SkipLayers
