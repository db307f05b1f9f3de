"""Running statistics of one quantity over the observations of a class."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from paretoken.spaces.records import Quantity


@dataclass
class RunningMean:
    """Mean and sum of squared deviations, one value at a time: the fields of `schema.MeanRow`.

    Source: Welford 1962, which stays exact where a sum of squares would cancel.
    """

    count: int = 0
    mean: float = 0.0
    squares: float = 0.0
    variance: float = 0.0
    samples: int = 0
    unit: str = ""
    higher: bool = True
    comparable: str = ""
    detail: Mapping[str, Any] = field(default_factory=dict)

    def add(self, seen: Quantity) -> None:
        """Count one observation; unit, direction and detail are those of the newest."""
        self.count += 1
        step = seen.value - self.mean
        self.mean += step / self.count
        self.squares += step * (seen.value - self.mean)
        self.variance += (seen.spread * seen.spread - self.variance) / self.count
        self.samples += seen.samples
        self.unit, self.higher = seen.unit, seen.higher
        self.comparable, self.detail = seen.comparable, seen.detail

    @property
    def spread(self) -> float:
        """The standard error of the mean.

        It is the larger of what the values show among themselves and what the observations state:
        few values may lie close together by chance, and a stated spread knows one run only.
        """
        stated = math.sqrt(self.variance / self.count)
        if self.count < 2:
            return stated
        return max(math.sqrt(self.squares / (self.count - 1) / self.count), stated)

    def quantity(self, name: str) -> Quantity:
        """The mean as one number with its spread."""
        return Quantity(
            name=name,
            value=self.mean,
            spread=self.spread,
            samples=self.samples,
            unit=self.unit,
            higher=self.higher,
            comparable=self.comparable,
            detail=self.detail,
        )
