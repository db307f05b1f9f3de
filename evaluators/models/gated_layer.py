"""Layers of a model behind something of ours: a look at their states, or a gate around them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

# What becomes of layer i for states [B, T, D] that enter it: it runs, or not; for some places only
# (bool [B or 1, T or 1, 1]); or so much of what it changes is added (float, of the same shape).
Choose = Callable[[int, Tensor], "bool | Tensor"]


class Wrapped(torch.nn.Module):
    """A layer with another `forward`; all else that a model asks of it, such as its kind of
    attention, is the layer's own."""

    def __init__(self, layer: torch.nn.Module) -> None:
        super().__init__()
        self.layer = layer

    def __getattr__(self, name: str) -> Any:
        try:
            return super().__getattr__(name)
        except AttributeError:
            return getattr(super().__getattr__("layer"), name)


class Gated(Wrapped):
    """Layer `index`, which `choose` may leave out: states then leave as they came."""

    def __init__(self, layer: torch.nn.Module, index: int, choose: Choose) -> None:
        super().__init__(layer)
        self._index, self._choose = index, choose

    def forward(self, hidden_states: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        chosen = self._choose(self._index, hidden_states)
        if chosen is False:
            return hidden_states
        found: Tensor = self.layer(hidden_states, *args, **kwargs)
        if chosen is True:
            return found
        assert isinstance(chosen, Tensor)
        if chosen.dtype == torch.bool:
            return torch.where(chosen, found, hidden_states)
        return hidden_states + chosen.to(found.dtype) * (found - hidden_states)


def gated(choose: Choose) -> Callable[[torch.nn.ModuleList], list[torch.nn.Module]]:
    """What `model_of` is asked with: every layer behind one gate."""
    return lambda layers: [Gated(layer, i, choose) for i, layer in enumerate(layers)]
