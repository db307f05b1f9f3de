"""Cosine: warm up, then fall by a cosine over all data sets together.

Equivalences: waves 0 is the constant schedule.
Source: Loshchilov and Hutter (ICLR 2017, arXiv:1608.03983); `cosine` and `cosine_with_min_lr` of
Hugging Face transformers, where `waves` is called `num_cycles`.
"""

from __future__ import annotations

from paretoken.evaluators.components.schedules.constant import Constant
from paretoken.evaluators.training.curves import Phase, curve, length
from paretoken.evaluators.training.schedule import Leg, Schedule, per_stage
from paretoken.spaces.component import Component, knob


class Cosine(Schedule):
    """Needs to know all steps before the first."""

    floor: float = knob(
        0.0, low=0.0, high=1.0, grid=(0.0, 0.1), doc="Where it ends, as a share of the peak."
    )
    waves: float = knob(
        0.5, low=0.0, high=8.0, grid=(0.5,), doc="Waves of the cosine; 0.5 falls once."
    )

    def legs(self, stages: tuple[int, ...]) -> tuple[Leg, ...]:
        rise = self.rise(stages[0])
        left = sum(stages) - length(rise)
        falls = curve("constant", left, self.peak, self.peak)
        if self.waves > 0 and left > 0:
            end, of = self.floor * self.peak, left / (2 * self.waves)
            falls = (Phase("cosine", left, self.peak, end, of),)
        return per_stage((*rise, *falls), stages)

    def simplified(self) -> Component:
        if self.waves == 0.0:
            return Constant(peak=self.peak, warm_up=self.warm_up)
        return self


plugin = Cosine
