"""Rungs: few samples first, more only for what may reach the front. Off unless asked for.

As in successive halving (Jamieson and Talwalkar 2016), a candidate climbs from rung to rung, each
with more samples than the one before; the last is the study's own number. But here nobody is
halved: a score at few samples is biased and noisy, so a candidate is stopped only where another
one is surely better in everything, by what both showed at the same rung. Numbers of different
rungs are never compared.
"""

from __future__ import annotations

from collections.abc import Sequence

from paretoken.cache.store import Store
from paretoken.search.asking import Asked
from paretoken.spaces.errors import BadInput, BadValue
from paretoken.spaces.records import StudyInfo

Rungs = tuple[int, ...]


def parse(text: str) -> Rungs:
    """The rungs in "125,500,1000"; raises BadValue."""
    try:
        numbers = [int(part) for part in text.split(",")] if text.strip() else []
    except ValueError as error:
        raise BadValue(
            "--rungs is whole numbers with commas between them, such as 125,500,1000; not "
            f"{text!r}."
        ) from error
    return checked(numbers)


def checked(rungs: Sequence[int]) -> Rungs:
    """The rungs, if there are none, or several and they rise; raises BadValue."""
    rising = all(low < high for low, high in zip((1, *rungs), rungs, strict=False))
    if len(rungs) == 1 or not rising:
        raise BadValue(
            "rungs are two or more numbers of samples from 2 on, each larger than the one before; "
            f"they cannot be {_listed(rungs)}."
        )
    return tuple(rungs)


def check_last(rungs: Rungs, samples: int) -> None:
    """Raise BadInput where the last rung is not the study's own number of samples."""
    if rungs and rungs[-1] != samples:
        most = [*(rung for rung in rungs if rung < samples), samples]
        other = f", or --rungs {_listed(most)}" if len(most) > 1 else ""
        raise BadInput(
            f"the last rung is the number of samples that the front is drawn at, but --rungs "
            f"{_listed(rungs)} ends in {rungs[-1]} and the study has {samples} samples: say "
            f"--samples {rungs[-1]}{other}."
        )


def same_rungs(info: StudyInfo, asked: Rungs) -> None:
    """Raise BadInput where other rungs are asked for than the study was begun with."""
    if asked and asked != info.rungs:
        own = f"--rungs {_listed(info.rungs)}" if info.rungs else "no rungs"
        raise BadInput(
            f"study {info.name!r} was begun with {own}, and its candidates compare at no others "
            f"than these: leave out --rungs {_listed(asked)}, or begin a study of another name."
        )


class Climb:
    """Takes trials of one study up to its last rung; several threads may call it at once."""

    def __init__(self, store: Store, info: StudyInfo) -> None:
        self._store, self._study, self._below = store, info.name, info.rungs[:-1]

    def __call__(self, number: int, asked: Asked) -> bool:
        """Whether the trial gets to the last rung, where it is not measured yet.

        Plain decoding always does. What an earlier call has measured stays as it was found then.
        """
        reached = self._reached(number)
        for samples in self._below:
            if samples not in reached:
                quality, speed = asked.find("quality", samples), asked.find("speed")
                origin = {"quality": quality.origin, "speed": speed.origin}
                self._store.reach(self._study, number, samples, quality.id, speed.id, origin)
            went_on = any(later > samples for later in reached)
            if number and not went_on and self._store.beaten(self._study, number, samples):
                return False
        return True

    def _reached(self, number: int) -> set[int]:
        if not self._below:
            return set()
        (trial,) = self._store.trials(self._study, {number})
        return {rung.samples for rung in trial.rungs}


def _listed(rungs: Sequence[int]) -> str:
    return ",".join(map(str, rungs))
