"""How little each layer of a language model changes what it is given, text by text.

A layer whose state leaves as it came can be left out at little loss. No training is needed to find
out: one pass over a text measures all layers.
Source: the measure is Men et al., "ShortGPT" (2024, arXiv:2403.03853), by text in place of on
average.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from paretoken.evaluators.models.gated_layer import Wrapped


@torch.inference_mode()
def likeness(target: Any, texts: Sequence[Tensor]) -> Tensor:
    """Cosine of the states that enter and leave each layer, averaged over each text's tokens.

    target: a `TextTarget`; texts: tokens [T] each. Returns float64 [n, L] on the CPU.
    """
    measured: list[_Measured] = []

    def watched(layers: torch.nn.ModuleList) -> list[_Measured]:
        measured.extend(map(_Measured, layers))
        return measured

    model = target.model_of(watched)
    rows = []
    for text in texts:
        model(input_ids=text.unsqueeze(0).to(target.device), use_cache=False)
        rows.append(torch.stack([layer.cosine for layer in measured]).cpu())
    return torch.stack(rows) if rows else torch.empty(0, len(measured), dtype=torch.float64)


class _Measured(Wrapped):
    """A layer that remembers the mean cosine of its last pass."""

    def __init__(self, layer: torch.nn.Module) -> None:
        super().__init__(layer)
        self.cosine = torch.zeros((), dtype=torch.float64)

    def forward(self, hidden_states: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        found: Tensor = self.layer(hidden_states, *args, **kwargs)
        before, after = hidden_states.double(), found.double()
        self.cosine = torch.cosine_similarity(before, after, dim=-1).mean()
        return found
