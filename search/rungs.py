"""Rungs: few samples first, more only for what may reach the front. Off unless asked for.

As in successive halving (Jamieson and Talwalkar 2016), a candidate climbs from rung to rung, each
with more samples than the one before, and at last to the study's own number. But here nobody is
halved: a score at few samples is biased and noisy, so a candidate is stopped only where another
one is surely better in everything, by what both showed at the same rung. Numbers of different
rungs are never compared.
"""

from __future__ import annotations

from collections.abc import Sequence

from paretoken.cache.store import Store
from paretoken.search.measuring import Asked
from paretoken.spaces.errors import BadInput, BadValue
from paretoken.spaces.records import StudyInfo, Trial

Rungs = tuple[int, ...]


def parse(text: str) -> Rungs:
    """The rungs in "125,500"; raises BadValue."""
    try:
        return checked([int(part) for part in text.split(",")] if text.strip() else [])
    except ValueError as error:
        raise BadValue(
            f"--rungs is whole numbers with commas between them, such as 125,500; not {text!r}."
        ) from error


def checked(rungs: Sequence[int]) -> Rungs:
    """The rungs, if they rise; raises BadValue."""
    if any(low >= high for low, high in zip((1, *rungs), rungs, strict=False)):
        raise BadValue(
            "rungs are numbers of samples from 2 on, each larger than the one before; they cannot "
            f"be {','.join(map(str, rungs))}."
        )
    return tuple(rungs)


def check_below(rungs: Rungs, samples: int) -> None:
    """Raise BadInput where the study's own number of samples is not above all rungs."""
    if rungs and rungs[-1] >= samples:
        raise BadInput(
            f"the rung {rungs[-1]} is not below the study's {samples} samples: leave it out of "
            "--rungs, or raise --samples."
        )


def same_rungs(info: StudyInfo, asked: Rungs) -> None:
    """Raise BadInput where other rungs are asked for than the study was begun with."""
    if asked and asked != info.rungs:
        own = ",".join(map(str, info.rungs))
        raise BadInput(
            f"study {info.name!r} was begun with {f'--rungs {own}' if own else 'no rungs'}, and "
            f"its candidates compare at no others than these: leave out --rungs "
            f"{','.join(map(str, asked))}, or begin a study of another name."
        )


class Climb:
    """Takes trials of one study up its rungs; several threads may call it at once."""

    def __init__(self, store: Store, info: StudyInfo) -> None:
        self._store, self._study, self._rungs = store, info.name, info.rungs

    def __call__(self, number: int, asked: Asked) -> bool:
        """Whether the trial goes on to the study's own number of samples: plain decoding always.

        What an earlier call has measured at a rung stays as it was found then.
        """
        reached = self._reached(number)
        for samples in self._rungs:
            if samples not in reached:
                quality, speed = asked.find("quality", samples), asked.find("speed")
                origin = {"quality": quality.origin, "speed": speed.origin}
                self._store.reach(self._study, number, samples, quality.id, speed.id, origin)
            went_on = any(later > samples for later in reached)
            if number and not went_on and self._store.beaten(self._study, number, samples):
                return False
        return True

    def _reached(self, number: int) -> set[int]:
        if not self._rungs:
            return set()
        trials: list[Trial] = self._store.trials(self._study, {number})
        return {rung.samples for trial in trials for rung in trial.rungs}
