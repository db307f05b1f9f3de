"""Confirming a front: its points were chosen because they looked good, so they are measured afresh.

Of many noisy values the best are too good on average. A point of the front is confirmed once both
of its numbers rest on observations made after it was chosen; the earlier ones then count no more.
A point that falls off lets others on, which are measured afresh in turn.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from paretoken.cache.store import Store
from paretoken.spaces.candidate import from_tree
from paretoken.spaces.records import Trial

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


def confirm(study: Running, store: Store, measurer: Measurer) -> None:
    """Measure the front afresh until it is confirmed, or until no time is left for a next one."""
    while waiting := to_confirm(store, study.info.name):
        trial = waiting[0]
        for aspect in _missing(trial):
            if study.seconds_left() < trial.seconds.get(aspect, 0.0):
                return
            study.begin(trial.number)
            study.say(f"{aspect}: the front, measured afresh ({len(waiting)} to do)", 0.0)
            measurer.confirm(trial.number, from_tree(trial.tree), aspect)


def _missing(trial: Trial) -> list[str]:
    return [aspect for aspect in ASPECTS if not trial.fresh.get(aspect)]
