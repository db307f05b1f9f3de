"""Inverse square root: warm up, then fall with the square root of the steps, for ever.

Sources: Vaswani et al. (NeurIPS 2017, arXiv:1706.03762); `inverse_sqrt` of Hugging Face
transformers, whose time scale is the warm-up where none is given, and 10,000 steps without one.
"""

from __future__ import annotations

from paretoken.evaluators.training.curves import Phase, length
from paretoken.evaluators.training.schedule import Leg, Schedule, per_stage
from paretoken.spaces.component import knob

_WITHOUT_WARM_UP = 10_000


class InverseSqrt(Schedule):
    """Needs no number of steps, and is never annealed."""

    timescale: float = knob(
        0.0,
        low=0.0,
        high=100.0,
        grid=(0.0, 0.3),
        doc="Steps until it is divided by the square root of 2, as a share; 0: as the warm-up.",
    )

    def legs(self, stages: tuple[int, ...]) -> tuple[Leg, ...]:
        rise = self.rise(stages[0])
        scale = round(self.timescale * stages[0]) or length(rise) or _WITHOUT_WARM_UP
        falls = Phase("reciprocal_root", sum(stages) - length(rise), self.peak, 0.0, scale)
        return per_stage((*rise, falls), stages)


plugin = InverseSqrt
