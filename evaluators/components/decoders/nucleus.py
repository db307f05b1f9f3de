"""Nucleus sampling: answers drawn independently from the model's law without its tail.

Two may turn out equal. Equivalence: at temperature 0 all are the greedy answer, and top_p is inert.
Source: Holtzman et al., "The curious case of neural text degeneration" (ICLR 2020,
arXiv:1904.09751).
"""

from __future__ import annotations

from torch import Tensor

from paretoken.evaluators.components.decoders.branching import Branching
from paretoken.evaluators.components.samplings.standard import Standard
from paretoken.evaluators.engine.laws import draw
from paretoken.evaluators.engine.noise import Purpose, uniforms
from paretoken.evaluators.engine.suggester import Request, Suggester, Writing
from paretoken.evaluators.engine.written import Written
from paretoken.spaces.component import Component, knob


class Nucleus(Suggester):
    """Draw as often as suggestions are wanted."""

    scored = ("temperature", "top_p")

    temperature: float = knob(
        1.0, low=0.0, high=4.0, grid=(0.5, 0.7, 1.0), doc="Divides the logits; 0: greedy."
    )
    top_p: float = knob(0.9, low=0.0, high=1.0, grid=(0.8, 0.9, 1.0), doc="Mass kept; 1: all.")

    def rows(self, wanted: int) -> int:
        return wanted

    def exactly(self, wanted: int) -> Suggester:
        return Branching() if wanted == 1 and self.temperature == 0.0 else self

    def scores(self, logits: Tensor) -> Tensor:
        law = Standard(temperature=self.temperature, top_p=self.top_p)
        index = logits.new_zeros(len(logits), 1).long()
        return law.laws(logits.unsqueeze(1), None, index).squeeze(1)

    def begin(self, request: Request) -> Writing:
        target = request.streams.target
        drawn = uniforms(request.seed, Purpose.NEXT, request.ids, target.length, request.wanted)

        def following(logits: Tensor, step: int) -> Tensor:
            law = self.scores(logits.flatten(0, 1)).view_as(logits)
            return draw(law, drawn[:, step])

        return Written(request, following)

    def simplified(self) -> Component:
        if self.temperature > 0.0 or self.top_p == 0.9:
            return self
        simpler: Component = self.clone(override={"top_p": 0.9})
        return simpler


plugin = Nucleus
