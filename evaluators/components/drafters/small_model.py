"""A small draft model: a second, quicker model of the same tokens drafts for the target.

The workload names it (`--option draft=PATH`). Drafts come from its law under the target's sampling
rule. Equivalence: a window of 1 drafts nothing.
Source: Leviathan, Kalman and Matias (2023, arXiv:2211.17192); Chen et al. (2023, arXiv:2302.01318).
"""

from __future__ import annotations

from paretoken.evaluators.engine.drafter import DraftMemory, Shape
from paretoken.evaluators.engine.model_drafts import ModelDrafter, ModelDrafts


class SmallModel(ModelDrafter):
    """Let a small model guess what the large one would say."""

    def memory(self, shape: Shape) -> DraftMemory:
        return ModelDrafts(shape.target.small(), shape, self)


plugin = SmallModel
