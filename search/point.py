"""Point: one decision of a space, and what may be chosen at it."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from random import Random
from typing import Any

from paretoken.spaces.errors import BadValue


@dataclass(frozen=True)
class Point:
    """One decision. name: PyGlove's id, with ":" for "/", which other tools cannot take.

    size: number of options, and 0 for a continuous float between low and high.
    ordered: whether the options are increasing numbers, so that near indices are near in meaning.
    widths: by option, how many candidates it takes to meet every component that there is in it; 1
    for a value.
    """

    name: str
    size: int = 0
    low: float = 0.0
    high: float = 0.0
    log: bool = False
    ordered: bool = False
    widths: tuple[int, ...] = ()

    def draw(self, rng: Random) -> float:
        """A choice: uniform among the options, log-uniform on a log scale."""
        if self.size:
            return rng.randrange(self.size)
        if self.log:
            drawn = math.exp(rng.uniform(math.log(self.low), math.log(self.high)))
            return min(max(drawn, self.low), self.high)
        return rng.uniform(self.low, self.high)

    def least_met(self, met: Mapping[tuple[str, float], int], rng: Random) -> float:
        """A choice among the options that were met least for their width; drawn, if a float.

        met: how often each option was taken, by name and index.
        """
        if not self.size:
            return self.draw(rng)
        widths = self.widths or (1,) * self.size
        shares = [(met.get((self.name, i), 0) + 1) / width for i, width in enumerate(widths)]
        return rng.choice([i for i, share in enumerate(shares) if share == min(shares)])

    def index(self, number: float) -> int:
        """The number as an index of an option; raises BadValue for what is none."""
        if not (0 <= number < self.size and number == int(number)):
            raise BadValue(f"{self.name} is an index below {self.size}; it cannot be {number!r}.")
        return int(number)

    def real(self, number: float) -> float:
        """The number as one of the range; raises BadValue for what is outside."""
        if not self.has(number):
            limits = f"from {self.low} to {self.high}"
            raise BadValue(f"{self.name} is a number {limits}; it cannot be {number!r}.")
        return float(number)

    def has(self, value: Any) -> bool:
        """Whether a value is a number of the range."""
        number = isinstance(value, int | float) and not isinstance(value, bool)
        return number and self.low <= value <= self.high


Choose = Callable[[Point], float]
