"""Routers: one for each layer, which says from a prompt whether the layer is needed to answer it.

A router reads the states that enter its layer, behind all layers that were left out before, and
gives every token of the prompt a number r in (0, 1); the layer runs if their mean is at least a
threshold. The first and the last layer always run.
Departures from the paper: states are brought to equal length first, a router has an offset, and
after training one offset common to all is set such that the wanted share of layers is left out at
a threshold of 0.5, on average over the prompts that were learnt from.
Source: Jain et al., "FiRST" (Findings of EMNLP 2025, arXiv:2410.12513).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property

import torch
import xxhash
from torch import Tensor

_CLOSE = 1e-6  # r is kept so far from 0 and 1


@dataclass(frozen=True)
class Routers:
    """weight [L, D], bias [L]; offset: what the logit of the mean r has to exceed at 0.5."""

    weight: Tensor
    bias: Tensor
    offset: float = 0.0

    @classmethod
    def begun(cls, layers: int, width: int, share: float) -> Routers:
        """Routers that think all layers needed alike, so much: a share of 1 - skipped."""
        start = math.log((share + _CLOSE) / (1 - share + _CLOSE))
        return cls(torch.zeros(layers, width), torch.full((layers,), start))

    @classmethod
    def of(cls, weights: Mapping[str, Tensor], offset: float) -> Routers:
        return cls(weights["weight"], weights["bias"], offset)

    @property
    def weights(self) -> dict[str, Tensor]:
        """What is learnt, by name."""
        return {"weight": self.weight, "bias": self.bias}

    @cached_property
    def digest(self) -> str:
        """Their identity."""
        parts = [self.weight, self.bias, torch.tensor(self.offset, dtype=torch.float64)]
        raw = b"".join(part.detach().cpu().contiguous().numpy().tobytes() for part in parts)
        return xxhash.xxh3_128_hexdigest(raw)

    def on(self, device: torch.device) -> Routers:
        """The same on a device."""
        return replace(self, weight=self.weight.to(device), bias=self.bias.to(device))

    def needed(self, layer: int, states: Tensor, prompts: Tensor | None) -> Tensor:
        """How much a layer is needed, mean r in (0, 1), [B] float32.

        states: [B, T, D] that enter it. prompts: bool [B, T], the places of the prompt, or None
        where all are.
        """
        x = states.float()
        x = x * torch.rsqrt(x.square().mean(-1, keepdim=True) + 1e-6)
        score = (x @ self.weight[layer]) / x.shape[-1] ** 0.5 + self.bias[layer]
        r = score.sigmoid()
        counts = torch.ones_like(r) if prompts is None else prompts.to(r.dtype)
        mean: Tensor = (r * counts).sum(-1) / counts.sum(-1)
        return mean.clamp(_CLOSE, 1 - _CLOSE)


class Soft:
    """A gate that learns: so much of a layer's change is added as the layer is needed.

    hard: above this need a layer counts as run, below as left out, forwards; what is learnt is how
    need would have to change (straight-through).
    """

    def __init__(self, routers: Routers, layers: int, prompts: Tensor, hard: Tensor | None) -> None:
        self._routers, self._last = routers, layers - 1
        self._prompts, self._hard = prompts, hard
        self.needed: list[Tensor] = []

    def __call__(self, layer: int, states: Tensor) -> bool | Tensor:
        if layer in (0, self._last):
            return True
        need = self._routers.needed(layer, states, self._prompts)
        self.needed.append(need)
        share = need
        if self._hard is not None:
            share = (need >= self._hard).to(need.dtype) + need - need.detach()
        return share.view(-1, 1, 1)


class Deciding:
    """A gate that decides: layers are left out, for each line by itself.

    threshold: from 0 (all run) to 1. kept: what was decided, a list of [B] bool by layer; needs:
    the logits it was decided by, of the inner layers.
    """

    def __init__(
        self, routers: Routers, layers: int, threshold: float, prompts: Tensor | None = None
    ) -> None:
        self._routers, self._last, self._prompts = routers, layers - 1, prompts
        self._least = _logit(threshold) + routers.offset
        self.kept: list[Tensor] = []
        self.needs: list[Tensor] = []

    def __call__(self, layer: int, states: Tensor) -> bool | Tensor:
        if layer == 0:
            self.kept, self.needs = [], []
        if layer in (0, self._last):
            self.kept.append(torch.ones(len(states), dtype=torch.bool, device=states.device))
            return True
        with torch.no_grad():
            need = self._routers.needed(layer, states, self._prompts).logit()
            runs = need >= self._least
        self.kept.append(runs)
        self.needs.append(need)
        if states.device.type == "cpu":  # a device is not asked
            if runs.all():
                return True
            if not runs.any():
                return False
        return runs.view(-1, 1, 1)


def _logit(threshold: float) -> float:
    if threshold <= 0.0:
        return -math.inf
    return math.inf if threshold >= 1.0 else math.log(threshold / (1 - threshold))
