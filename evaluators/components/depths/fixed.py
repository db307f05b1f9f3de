"""A fixed set of layers is left out of every prompt and token: the static baseline.

Which ones: every so many-th, a block in the middle, or those that the model's laws on its own
answers miss least (`greedy`, `bayesian`; see `shortening.skip_sets`). They read no prompt either.
With a rank, a LoRA makes up for them; it also may with nothing left out, which is what a LoRA alone
has to be compared with.
Equivalences: skipping nothing at rank 0 leaves out nothing; the same set is the same model, however
it was found; `drafters/skip_layers` drafts with the same sets, without loss.
Source: Zhang et al., "Draft & Verify" (ACL 2024, arXiv:2309.08168), used without verification.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor

from paretoken.evaluators.engine.depth import Recovering
from paretoken.evaluators.models.stages import whole_table
from paretoken.evaluators.shortening.skip_sets import BY_RULE, CALIBRATED, set_of
from paretoken.spaces.component import Component, knob


class Fixed(Recovering):
    """Leave out the same layers always."""

    skipped: float = knob(
        0.1, low=0.0, high=1.0, grid=(0.1, 0.2, 0.3), doc="Share of the inner layers left out."
    )
    spread: str = knob("greedy", among=(*BY_RULE, *CALIBRATED), doc="Which of them.")

    @property
    def whole(self) -> bool:
        return bool(self.skipped == 0.0 and not self.rank)

    def kept(self, target: Any) -> Tensor:
        runs = set_of(target, self.skipped, str(self.spread))
        return whole_table(target.layers, target.length, runs)

    def without(self, target: Any) -> Tensor:
        return self.kept(target)

    def simplified(self) -> Component:
        if self.skipped == 0.0 and self.spread != "evenly":
            simpler: Component = self.clone(override={"spread": "evenly"})
            return simpler
        return super().simplified()


plugin = Fixed
