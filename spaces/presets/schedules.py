"""Everything paretoken can vary about a learning rate: all schedules, at several peaks."""

from __future__ import annotations

from paretoken.spaces.derive import derive
from paretoken.spaces.space import Space


def schedules() -> Space:
    """The derived space of a candidate that trains, at the workload's full number of steps."""
    return Space(derive("candidates/training"))


plugin = schedules
