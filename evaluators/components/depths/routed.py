"""Routers choose a prompt's layers: one a layer, trained with the model frozen.

While a prompt is read each router looks at the states that enter its layer and says whether the
layer is needed; what is not needed is left out of the prompt and of every token of the answer.
Training is as in the paper's two stages. First the routers learn, on the model's own answers, with
layers mixed in by how much they are needed, to stay near the whole model's laws and to leave out
the share `skipped` (a penalty, which stands for the paper's alpha). Then, with a rank, a LoRA
learns to live with what they leave out. `threshold` is a knob of decoding alone: at 0.5 the share
`skipped` is left out on average over the prompts learnt from, at less fewer layers are.
Departures: see `shortening.routers`. The choice is made beforehand, in float32, by reading the
prompt once without a cache, and is not timed; it is a product of a vector with each state that
enters a layer.
Equivalences: a threshold of 0 leaves out nothing; the same layers for the same prompts are the same
model, whatever chose them.
Source: Jain et al., "FiRST" (Findings of EMNLP 2025, arXiv:2410.12513).
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from paretoken.evaluators.engine.depth import Recovering
from paretoken.evaluators.models.gated_layer import Gated
from paretoken.evaluators.shortening.routers import Deciding, Routers
from paretoken.spaces.component import Component, knob


class Routed(Recovering):
    """Let trained routers choose a prompt's layers."""

    skipped: float = knob(
        0.1, low=0.01, high=0.9, grid=(0.1, 0.2, 0.3),
        doc="Share of the inner layers that routers are trained to leave out.",
    )  # fmt: skip
    threshold: float = knob(
        0.5, low=0.0, high=1.0, grid=(0.5,), doc="A layer runs if it is needed that much."
    )

    @property
    def whole(self) -> bool:
        return bool(self.threshold == 0.0 and not self.rank)

    def kept(self, target: Any) -> Tensor:
        if self.threshold == 0.0:
            return torch.ones(1, 1 + target.length, target.layers, dtype=torch.bool)
        gate = Deciding(self.without(target).on(target.device), target.layers, self.threshold)
        layers = target.layers_with(self.adapter(target))
        model = target.model_of(lambda _: [Gated(one, i, gate) for i, one in enumerate(layers)])
        rows = []
        with torch.no_grad():
            for prompt in range(target.asked):
                target.read(model, prompt)
                rows.append(torch.cat(gate.kept).cpu())
        return torch.stack(rows).unsqueeze(1).repeat(1, 1 + target.length, 1)

    def without(self, target: Any) -> Routers:
        found: Routers = target.school().routers(float(self.skipped))
        return found

    def simplified(self) -> Component:
        if self.threshold == 0.0 and not self.rank and self.skipped != 0.1:
            simpler: Component = self.clone(override={"skipped": 0.1})
            return simpler
        return super().simplified()


plugin = Routed
