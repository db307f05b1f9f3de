"""Trials of a study as Optuna's own: what its importances, its storages and its dashboard take.

A setting is a parameter under its path (`decoder.drafter.window`); numbers are integers or floats
between the least and the largest that occurs, all else is categorical. What never varies is no
parameter. Settings that a trial does not have (the window of a drafter that has none) are left out,
as in Optuna's conditional spaces.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from paretoken.search.report.knobs import Knob, flat, knobs
from paretoken.spaces.objectives import Objective
from paretoken.spaces.records import Trial

_WIDE = 16  # times the least: from here on a range of positive numbers is logarithmic


def distributions(trials: Sequence[Trial]) -> dict[str, BaseDistribution]:
    """By path, what each setting that varies is drawn from, as far as these trials tell."""
    return {knob.path: _distribution(knob) for knob in knobs(trials) if knob.varies}


def frozen(
    trial: Trial,
    space: Mapping[str, BaseDistribution],
    objectives: Sequence[Objective],
    *,
    number: int,
    ended: datetime,
    attributes: Mapping[str, Any] | None = None,
) -> FrozenTrial:
    """One trial; COMPLETE where it has all the objectives' values, else FAIL.

    number: of Optuna's trial. ended: when it did; it began as long before as its measurements took.
    """
    settings = flat(trial.tree)
    values = [trial.quantities[o.name].value for o in objectives if o.name in trial.quantities]
    whole = trial.state == "done" and len(values) == len(objectives)
    whole = whole and all(map(math.isfinite, values))
    took = sum(
        seconds
        for aspect, seconds in trial.seconds.items()
        if trial.origin.get(aspect) == "measured"
    )
    return FrozenTrial(
        number=number,
        trial_id=number,
        state=TrialState.COMPLETE if whole else TrialState.FAIL,
        value=None,
        values=values if whole else None,
        datetime_start=ended - timedelta(seconds=took),
        datetime_complete=ended,
        params={path: settings[path] for path in space if path in settings},
        distributions={path: drawn for path, drawn in space.items() if path in settings},
        user_attrs=dict(attributes or {}),
        system_attrs={},
        intermediate_values={},
    )


def directions(objectives: Sequence[Objective]) -> list[StudyDirection]:
    """The objectives' directions."""
    ways = (StudyDirection.MINIMIZE, StudyDirection.MAXIMIZE)
    return [ways[objective.higher] for objective in objectives]


def _distribution(knob: Knob) -> BaseDistribution:
    if not knob.numeric:
        return CategoricalDistribution(knob.levels)
    low, *_, high = (float(value) for value in knob.levels if value is not None)
    log = low > 0 and high / low >= _WIDE
    if knob.whole:
        return IntDistribution(int(low), int(high), log=log)
    return FloatDistribution(low, high, log=log)
