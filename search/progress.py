"""Progress: what a running search tells whoever watches it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from paretoken.spaces.records import Trial


@dataclass(frozen=True)
class Progress:
    """A moment of a search.

    phase: what runs now, for a person ("quality: 128 of 500 images"). fraction: of that phase.
    done, wanted: finished trials and the number asked for (None where only time limits).
    seconds_left: until the time limit or the estimated end; None while unknown.
    finished: the trial that has just ended, if this moment is the end of one.
    """

    phase: str
    fraction: float
    done: int
    wanted: int | None
    seconds_left: float | None
    finished: Trial | None


Watcher = Callable[[Progress], None]
