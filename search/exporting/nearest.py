"""The nearest candidate on the front that an engine can express, where it refused another one."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from paretoken.search.exporting.refusal import Refused
from paretoken.search.report.results import Results
from paretoken.spaces.errors import BadInput
from paretoken.spaces.objectives import Objective
from paretoken.spaces.records import Trial


def nearest(results: Results, refused: Trial, express: Callable[[Trial], object]) -> Trial | None:
    """The one nearest in the objectives, each measured by its range over the front; None without.

    express: raises for what cannot be expressed. Ties go to the faster one.
    """
    front = [t for t in results.fastest_first(results.front) if t.number != refused.number]
    ranges = [_range(objective, [*front, refused]) for objective in results.objectives]

    def distance(trial: Trial) -> float:
        return math.hypot(
            *(
                _between(objective, trial, refused) / size
                for objective, size in zip(results.objectives, ranges, strict=True)
            )
        )

    for trial in sorted(front, key=distance):
        try:
            express(trial)
        except (Refused, BadInput):  # BadInput: no batch table of its family was measured
            continue
        return trial
    return None


def _value(objective: Objective, trial: Trial) -> float:
    found = trial.quantities.get(objective.name)
    return math.nan if found is None else found.value


def _between(objective: Objective, one: Trial, other: Trial) -> float:
    """How far apart two trials are; 0 where one of them lacks the quantity."""
    apart = abs(_value(objective, one) - _value(objective, other))
    return apart if math.isfinite(apart) else 0.0


def _range(objective: Objective, trials: Sequence[Trial]) -> float:
    values = [v for v in (_value(objective, trial) for trial in trials) if math.isfinite(v)]
    return max(values) - min(values) or 1.0 if values else 1.0
