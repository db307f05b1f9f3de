"""Timing: repeat, take the median, and say how far it can be trusted."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass

_FOR_QUARTILES = 8
_QUARTILES_APART = 1.349  # standard deviations between the quartiles of a normal law

# By how much, relatively, a speed differs from process to process beyond what either sees by
# itself: the standard deviation over the 39 steadiest of 75 proposals, each timed in two processes
# (images on two H200s, tests/benchmarks/several_gpus.py). It was not measured for text, nor between
# processes on a CPU.
BETWEEN_PROCESSES = {"cuda": 0.0093, "cpu": 0.0}


@dataclass(frozen=True)
class Timed:
    """Seconds of equal pieces of work. moments: one per repeat, in the groups they were timed in.

    Between moments everything is built anew: where caches lie, how a device is clocked and what
    else its host does stay as they are over one moment's repeats, and so do not show in them.
    """

    moments: tuple[tuple[float, ...], ...]

    @property
    def seconds(self) -> tuple[float, ...]:
        return tuple(second for moment in self.moments for second in moment)

    @property
    def median(self) -> float:
        return statistics.median(self.seconds)

    @property
    def spread(self) -> float:
        """Standard error of the median, in seconds: sqrt(pi / 2) * s / sqrt(n) if normal.

        Or the same of the moments' medians, where they lie further apart than repeats explain.

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
        within = _of_median(deviation, len(self.seconds))
        if len(self.moments) < 2:
            return within
        medians = [statistics.median(moment) for moment in self.moments]
        return max(within, _of_median(statistics.stdev(medians), len(medians)))

    def relative_spread(self, device: str) -> float:
        """The spread over the median, with what another process on this type of device would have
        seen differently."""
        return math.hypot(self.spread / self.median, BETWEEN_PROCESSES[device])


def _of_median(deviation: float, n: int) -> float:
    """The standard error of the median of n normal values."""
    return math.sqrt(math.pi / 2) * deviation / math.sqrt(n)


def repeat(
    work: Callable[[int], float],
    *,
    warm_up: int,
    least: int,
    most: int,
    enough_s: float,
    moments: int = 1,
    anew: Callable[[], None] = lambda: None,
) -> Timed:
    """Run `work(i)`, which returns its own synchronised seconds, until there is enough.

    In each of the moments `anew()` comes first, then warm-up repeats that are not counted, then at
    least `least` and at most `most` repeats; between them, until `enough_s` seconds were timed. i
    counts what is counted.
    """
    timed: list[tuple[float, ...]] = []
    done = 0
    for _ in range(moments):
        anew()
        for i in range(warm_up):
            work(done + i)
        seconds: list[float] = []
        while len(seconds) < least or (len(seconds) < most and sum(seconds) < enough_s):
            seconds.append(work(done + len(seconds)))
        done += len(seconds)
        timed.append(tuple(seconds))
    return Timed(tuple(timed))


def mean_and_error(values: Sequence[float]) -> tuple[float, float]:
    """The mean of independent values and its standard error; the error is inf for a single one."""
    mean = statistics.fmean(values)
    if len(values) < 2:
        return mean, math.inf
    return mean, statistics.stdev(values) / math.sqrt(len(values))
