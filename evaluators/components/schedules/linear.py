"""Linear: warm up, then fall in a straight line over all data sets together.

Source: `linear` of Hugging Face transformers, to which floor 0 is equal.
"""

from __future__ import annotations

from paretoken.evaluators.training.curves import curve, length
from paretoken.evaluators.training.schedule import Leg, Schedule, per_stage
from paretoken.spaces.component import knob


class Linear(Schedule):
    """Needs to know all steps before the first."""

    floor: float = knob(
        0.0, low=0.0, high=1.0, grid=(0.0, 0.1), doc="Where it ends, as a share of the peak."
    )

    def legs(self, stages: tuple[int, ...]) -> tuple[Leg, ...]:
        rise = self.rise(stages[0])
        left = sum(stages) - length(rise)
        falls = curve("linear", left, self.peak, self.floor * self.peak)
        return per_stage((*rise, *falls), stages)


plugin = Linear
