"""Constant: warm up, then one rate for ever; nothing is annealed.

Equivalences: an infinite schedule or WSD that is never annealed, with level 1.
Source: `constant_with_warmup` of Hugging Face transformers.
"""

from __future__ import annotations

from paretoken.evaluators.training.curves import curve
from paretoken.evaluators.training.schedule import Leg, Schedule, per_stage


class Constant(Schedule):
    """Needs no number of steps, and ships a model that was never cooled."""

    def legs(self, stages: tuple[int, ...]) -> tuple[Leg, ...]:
        rise = self.rise(stages[0])
        stays = curve("constant", sum(stages), self.peak, self.peak)
        return per_stage((*rise, *stays), stages)


plugin = Constant
