"""Infinite: warm up, cool down to a rate that stays as long as data comes, anneal what is shipped.

Equivalences: level 1 is WSD, whatever the cool-down. Without a cool-down and without a warm-up it
is WSD at the lower peak; with a warm-up it is not, for the rate still rises to the peak.
Sources: Singh et al., "Beyond cosine decay: on the effectiveness of infinite learning rate schedule
for continual pre-training" (CoLLAs 2025, arXiv:2503.02844); Ibrahim et al. (TMLR 2024,
arXiv:2403.08763).
"""

from __future__ import annotations

from paretoken.evaluators.components.schedules.wsd import WarmUpStableDecay
from paretoken.evaluators.training.curves import curve
from paretoken.evaluators.training.schedule import Annealed, Phases
from paretoken.spaces.component import Component, knob


class Infinite(Annealed):
    """No number of steps is needed, and later data sets are not warmed up for."""

    cool_down: float = knob(
        0.3, low=0.0, high=1.0, grid=(0.1, 0.3, 0.6), doc="Share of the steps of the cool-down."
    )
    cooling: str = knob(
        "cosine",
        among=("cosine", "inverse_root", "linear"),
        doc="The curve of the cool-down.",
    )
    level: float = knob(
        0.5,
        low=0.01,
        high=1.0,
        grid=(0.1, 0.25, 0.5),
        doc="The rate that stays, as a share of the peak.",
    )

    @property
    def constant(self) -> float:
        return float(self.level)

    def beginning(self, steps: int) -> Phases:
        rise = self.rise(steps)
        # Rounded together, the two end within a step of where their shares say.
        cooled = round((self.warm_up + self.cool_down) * steps) - round(self.warm_up * steps)
        return (*rise, *curve(self.cooling, cooled, self.peak, self.level * self.peak))

    def simplified(self) -> Component:
        if self.level == 1.0:
            return WarmUpStableDecay(
                peak=self.peak, warm_up=self.warm_up, anneal=self.anneal, shape=self.shape,
                floor=self.floor,
            )  # fmt: skip
        if self.cool_down == 0.0 and self.cooling != "cosine":
            inert: Component = self.clone(override={"cooling": "cosine"})
            return inert
        return super().simplified()


plugin = Infinite
