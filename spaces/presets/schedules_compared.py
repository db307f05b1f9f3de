"""One candidate of every schedule, all alike but for what makes them different: for a grid.

Number 0 of a study is repeated cosine already; `--set training.schedule=infinite` leaves just the
other that the literature compares it with.
"""

from __future__ import annotations

from paretoken.spaces.derive import derive
from paretoken.spaces.space import Space


def schedules_compared() -> Space:
    """Seven schedules with the same peak, warm-up and floor."""
    return (
        Space(derive("candidates/training"))
        .fix("schedule.peak", 1e-3)
        .fix("schedule.warm_up", 0.05)
        .fix("infinite.anneal", 0.15)
        .fix("infinite.shape", "exponential")
        .fix("infinite.floor", 0.01)
        .fix("infinite.cool_down", 0.3)
        .fix("infinite.cooling", "cosine")
        .fix("infinite.level", 0.5)
        .fix("wsd.anneal", 0.15)
        .fix("wsd.shape", "exponential")
        .fix("wsd.floor", 0.01)
        .fix("cosine.floor", 0.01)
        .fix("linear.floor", 0.01)
        .fix("repeated_cosine.floor", 0.01)
        .fix("repeated_cosine.again", 1.0)
        .fix("inverse_sqrt.timescale", 0.0)
    )


plugin = schedules_compared
