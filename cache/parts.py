"""One class in memory, while a batch of observations is counted."""

from __future__ import annotations

from dataclasses import dataclass, field

from paretoken.cache.classes import Family
from paretoken.cache.disagreements import Deviation
from paretoken.cache.means import RunningMean
from paretoken.spaces.records import Disagreement, Measurement


@dataclass(eq=False)
class Part:
    """A class: the fields of `schema.ClassRow`, and what the batch has changed so far.

    id: 0 while it is not stored. means: by quantity, `touched` those that the batch changed.
    stale: whether stored means no longer count. members: candidates observed in the batch.
    """

    family: Family
    split: int
    id: int = 0
    count: int = 0
    fresh: int = 0
    seconds: float = 0.0
    means: dict[str, RunningMean] = field(default_factory=dict)
    touched: set[str] = field(default_factory=set)
    stale: bool = False
    members: set[str] = field(default_factory=set)

    def add(self, candidate_id: str, observed: Measurement) -> None:
        """Count an observation. From the first one that confirms a front on, only such count.

        Values that were chosen because they looked good look better than they are.
        """
        self.members.add(candidate_id)
        if self.fresh and not observed.fresh:
            return
        if observed.fresh and not self.fresh:
            self.count, self.seconds, self.stale = 0, 0.0, self.id > 0
            self.means.clear()
            self.touched.clear()
        self.count += 1
        self.fresh += observed.fresh
        self.seconds += (observed.seconds - self.seconds) / self.count
        for quantity in observed.quantities:
            self.means.setdefault(quantity.name, RunningMean()).add(quantity)
            self.touched.add(quantity.name)


@dataclass(frozen=True)
class Dissent:
    """In what an observation disagreed, and with which class."""

    against: Part
    deviation: Deviation


@dataclass(frozen=True)
class Placed:
    """An observation and the class that it was counted in."""

    candidate_id: str
    observed: Measurement
    part: Part
    dissent: Dissent | None

    @property
    def split(self) -> bool:
        """Whether the observation started a class of its own."""
        return self.dissent is not None and self.dissent.against is not self.part

    @property
    def disagreement(self) -> Disagreement | None:
        """The record of the dissent."""
        if self.dissent is None:
            return None
        off = self.dissent.deviation
        return Disagreement(
            candidate_id=self.candidate_id,
            aspect=self.observed.aspect,
            name=off.name,
            value=off.value,
            expected=off.expected,
            sigmas=off.sigmas,
            split=self.split,
        )
