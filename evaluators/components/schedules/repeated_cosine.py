"""Repeated cosine: every data set is warmed up for, and left by a cosine, as if it were the last.

The rate rises from 0 on the first data set and from the floor on later ones, to `again` times the
peak there. With several `cycles` the cosine begins anew within a data set, without a warm-up.
Equivalences: on one data set, cycles 1 is the cosine schedule.
Sources: Ibrahim et al., "Simple and scalable strategies to continually pre-train large language
models" (TMLR 2024, arXiv:2403.08763); `cosine_with_restarts` of Hugging Face transformers.
"""

from __future__ import annotations

from paretoken.evaluators.training.curves import Phase, curve, length
from paretoken.evaluators.training.schedule import Leg, Schedule
from paretoken.spaces.component import knob


class RepeatedCosine(Schedule):
    """Ships at the end of every data set, and pays with a new warm-up for each."""

    floor: float = knob(
        0.01, low=0.0, high=1.0, grid=(0.01, 0.1), doc="Where it ends, as a share of the peak."
    )
    again: float = knob(
        1.0, low=0.0, high=1.0, grid=(0.5, 1.0), doc="Peak of later data sets, as a share of it."
    )
    cycles: int = knob(1, low=1, high=64, grid=(1,), doc="Cosines in each data set.")

    def legs(self, stages: tuple[int, ...]) -> tuple[Leg, ...]:
        return tuple(self._leg(steps, first=i == 0) for i, steps in enumerate(stages))

    def _leg(self, steps: int, first: bool) -> Leg:
        end = self.floor * self.peak
        peak = self.peak if first else max(end, self.again * self.peak)
        rise = curve("linear", round(self.warm_up * steps), 0.0 if first else end, peak)
        left = steps - length(rise)
        falls: list[Phase] = []
        begun = 0
        for cycle in range(1, self.cycles + 1):
            # Step n belongs to cycle floor(n * cycles / left), whose first step is the next whole.
            upto = -(-cycle * left // self.cycles)
            if upto > begun:
                of = left / self.cycles
                falls.append(Phase("cosine", upto - begun, peak, end, of, begun - (cycle - 1) * of))
            begun = upto
        return Leg((*rise, *falls))


plugin = RepeatedCosine
