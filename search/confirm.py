"""Confirming a front: its points were chosen because they looked good, so they are measured afresh.

Of many noisy values the best are too good on average. A point of the front is confirmed once both
of its numbers rest on observations made after it was chosen; the earlier ones then count no more.
A point that falls off lets others on, which are measured afresh in turn.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING

from paretoken.cache.store import Store
from paretoken.search.failures import failure_of
from paretoken.search.in_flight import InFlight
from paretoken.spaces.errors import MeasurementFailed, ParetokenError
from paretoken.spaces.records import Environment, Trial

if TYPE_CHECKING:
    from paretoken.search.measuring import Measurer
    from paretoken.search.running import Running

ASPECTS = ("quality", "speed")


def to_confirm(store: Store, study: str) -> list[Trial]:
    """The points of the study's front that are not confirmed."""
    return [trial for trial in store.front(study) if _missing(trial)]


def seconds_to_confirm(waiting: Sequence[Trial]) -> float:
    """What measuring these afresh is going to take, by what their measurements took before."""
    return sum(trial.seconds.get(aspect, 0.0) for trial in waiting for aspect in _missing(trial))


def confirm(
    study: Running, store: Store, measurer: Measurer, here: Environment, flight: InFlight[int]
) -> None:
    """Measure the front afresh until it is confirmed, or until no time is left for a next one.

    here: where speeds are timed now; a front of another device cannot be confirmed here. A point
    that fails to be measured afresh stays unconfirmed.
    """
    begun: set[int] = set()  # in flight, or given up
    out_of_time = False

    def afresh(trial: Trial, waiting: int) -> int:
        """Returns the number of a trial that may be looked at again, or -1."""
        nonlocal out_of_time
        say = study.saying(trial.number)
        for aspect in _missing(trial):
            if study.seconds_left() < trial.seconds.get(aspect, 0.0):
                out_of_time = True
                return -1
            say(f"{aspect}: the front, measured afresh ({waiting} to do)", 0.0)
            try:
                measurer.confirm(trial.number, dict(trial.tree), aspect, say)
            except Exception as error:
                if isinstance(error, ParetokenError) and not isinstance(error, MeasurementFailed):
                    raise
                say(f"{aspect}: could not be measured afresh, {failure_of(error).reason}", 1.0)
                return -1
        return trial.number

    while True:
        waiting = [trial for trial in to_confirm(store, study.info.name) if _same(trial, here)]
        for trial in waiting:
            if trial.number not in begun and not flight.full and not out_of_time:
                begun.add(trial.number)
                flight.start(partial(afresh, trial, len(waiting)))
        if not len(flight):
            return
        begun -= set(flight.ended())


def _missing(trial: Trial) -> list[str]:
    return [aspect for aspect in ASPECTS if not trial.fresh.get(aspect)]


def _same(trial: Trial, here: Environment) -> bool:
    place = trial.environment
    return place is not None and (place.device, place.software) == (here.device, here.software)
