"""Timing: repeat, take the median, and say how far it can be trusted."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass

_FOR_QUARTILES = 8
_QUARTILES_APART = 1.349  # standard deviations between the quartiles of a normal law


@dataclass(frozen=True)
class Timed:
    """Seconds of equal pieces of work. seconds: one per repeat, warm-up left out."""

    seconds: tuple[float, ...]

    @property
    def median(self) -> float:
        return statistics.median(self.seconds)

    @property
    def spread(self) -> float:
        """Standard error of the median, in seconds: sqrt(pi / 2) * s / sqrt(n) if normal.

        s comes from the quartiles where there are enough repeats for them: a host that stalls for
        a moment makes one repeat several times longer, which does not move the median.
        """
        if len(self.seconds) < 2:
            return math.inf
        if len(self.seconds) < _FOR_QUARTILES:
            deviation = statistics.stdev(self.seconds)
        else:
            low, _, high = statistics.quantiles(self.seconds, n=4)
            deviation = (high - low) / _QUARTILES_APART
        return math.sqrt(math.pi / 2) * deviation / math.sqrt(len(self.seconds))


def repeat(
    work: Callable[[int], float], *, warm_up: int, least: int, most: int, enough_s: float
) -> Timed:
    """Run `work(i)`, which returns its own synchronised seconds, until there is enough.

    At least `least` and at most `most` repeats; between them, until `enough_s` seconds were timed.
    Warm-up repeats come first and are not counted.
    """
    for i in range(warm_up):
        work(i)
    seconds: list[float] = []
    while len(seconds) < least or (len(seconds) < most and sum(seconds) < enough_s):
        seconds.append(work(len(seconds)))
    return Timed(tuple(seconds))


def mean_and_error(values: Sequence[float]) -> tuple[float, float]:
    """The mean of independent values and its standard error; the error is inf for a single one."""
    mean = statistics.fmean(values)
    if len(values) < 2:
        return mean, math.inf
    return mean, statistics.stdev(values) / math.sqrt(len(values))
