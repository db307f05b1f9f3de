"""Schedule: the learning rate at every step of training on one data set after the other.

What is trained on a data set is a `Leg`. Its trunk is what the next data set goes on from; its
anneal branches off at the end of the trunk and ends in the model that is shipped. Both together
take the steps that the data set has: a schedule that anneals trains its trunk for fewer.
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import Any

from paretoken.evaluators.training.curves import ANNEALS, Phase, curve, cut, length
from paretoken.spaces.component import Component, knob

Phases = tuple[Phase, ...]


@dataclass(frozen=True)
class Leg:
    """The rates on one data set. anneal: empty where the end of the trunk itself is shipped."""

    trunk: Phases
    anneal: Phases = ()

    def plain(self) -> dict[str, Any]:
        """The leg as plain JSON."""
        return {
            "trunk": [phase.plain() for phase in self.trunk],
            "anneal": [phase.plain() for phase in self.anneal],
        }


class Schedule(Component):
    """Base of all schedules. Shares are of the steps of the first data set unless said."""

    kind = "schedules"

    peak: float = knob(
        1e-3, low=1e-6, high=1.0, grid=(3e-4, 1e-3, 3e-3), log=True, doc="The highest rate."
    )
    warm_up: float = knob(
        0.05, low=0.0, high=1.0, grid=(0.01, 0.05), doc="Share of the steps that the rate rises in."
    )

    @abstractmethod
    def legs(self, stages: tuple[int, ...]) -> tuple[Leg, ...]:
        """The rates on data sets of so many steps each; raises BadValue where there are none."""

    def rise(self, steps: int, start: float = 0.0) -> Phases:
        """The warm-up on a data set of so many steps: as Hugging Face's, step 0 has rate 0."""
        return curve("linear", round(self.warm_up * steps), start, self.peak)


def per_stage(phases: Phases, stages: tuple[int, ...]) -> tuple[Leg, ...]:
    """Phases over all steps, cut where a new data set begins."""
    legs = []
    for steps in stages:
        own, phases = cut(phases, steps)
        legs.append(Leg(own))
    return tuple(legs)


class Annealed(Schedule):
    """Rises once, then stays at one rate as long as data comes, and anneals what is shipped.

    The next data set goes on from before the anneal, at the rate that stays: it is not warmed up
    again. Where the beginning would reach into the first anneal, the anneal is shorter.
    """

    anneal: float = knob(
        0.15,
        low=0.0,
        high=1.0,
        grid=(0.1, 0.15, 0.3),
        doc="Share of each data set's steps in which the rate falls for shipping.",
    )
    shape: str = knob("exponential", among=ANNEALS, doc="The curve by which it falls.")
    floor: float = knob(
        0.01, low=0.0, high=1.0, grid=(0.01, 0.1), doc="Where it ends, as a share of the peak."
    )

    @property
    def constant(self) -> float:
        """The rate that stays, as a share of the peak."""
        return 1.0

    def beginning(self, steps: int) -> Phases:
        """What comes before the rate that stays, on a first data set of so many steps."""
        return self.rise(steps)

    def legs(self, stages: tuple[int, ...]) -> tuple[Leg, ...]:
        found = []
        begun, _ = cut(self.beginning(stages[0]), stages[0])
        for steps in stages:
            left = steps - length(begun)
            annealed = min(left, round(self.anneal * steps))
            stays = self.constant * self.peak
            trunk = (*begun, *curve("constant", left - annealed, stays, stays))
            falls = curve(self.shape, annealed, stays, min(self.floor, self.constant) * self.peak)
            found.append(Leg(trunk, falls))
            begun = ()
        return tuple(found)

    def simplified(self) -> Component:
        simpler: Any = self
        if self.floor > self.constant:
            simpler = simpler.clone(override={"floor": self.constant})
        if (self.anneal == 0.0 or self.floor >= self.constant) and self.shape != "linear":
            simpler = simpler.clone(override={"shape": "linear"})  # nothing falls
        found: Component = simpler
        return found
