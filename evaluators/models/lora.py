"""Low-rank changes of a model's matrices: W + alpha / r * B A.

While they are learnt they stand beside the matrices; a model that decodes has them added in, so
that they cost nothing there. B begins at zero: untrained, they change no bit.
Source: Hu et al., "LoRA" (ICLR 2022, arXiv:2106.09685).
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
import xxhash
from torch import Tensor, nn
from torch.nn import functional

from paretoken.spaces.errors import MeasurementFailed

# How parts of a layer are called that are no attention, in the models known here.
_FEED_FORWARD = ("mlp", "feed_forward")

Weights = Mapping[str, Tensor]


@dataclass(frozen=True)
class LoRA:
    """scale: alpha / r. weights: by matrix A [r, in] ("3.self_attn.q_proj down") and B [out, r]
    ("… up"); the number is that of the layer."""

    scale: float
    weights: Weights

    @classmethod
    def begun(
        cls, layers: Sequence[nn.Module], rank: int, alpha: float, matrices: str, seed: int
    ) -> LoRA:
        """A of random numbers, B of zeros, for every matrix of the layers, or ("attention") for
        those of attention, in float32 on the CPU. Fails a model without such matrices."""
        generator = torch.Generator().manual_seed(seed)
        weights: dict[str, Tensor] = {}
        for index, layer in enumerate(layers):
            for name, linear in _matrices(layer, f"{index}"):
                if matrices == "attention" and any(part in name for part in _FEED_FORWARD):
                    continue
                out, into = linear.weight.shape
                first = torch.randn(rank, into, generator=generator) / into**0.5
                weights[f"{name} down"], weights[f"{name} up"] = first, torch.zeros(out, rank)
        if not weights:
            raise MeasurementFailed(
                "unsupported",
                "the model's layers hold no linear matrices, so there is nothing for LoRA to "
                "change: leave it out (--set depth.rank=0).",
            )
        return cls(alpha / rank, weights)

    @cached_property
    def digest(self) -> str:
        """The identity of what is added."""
        state = xxhash.xxh3_128(f"{self.scale!r}".encode())
        for name, value in sorted(self.weights.items()):
            state.update(name.encode())
            state.update(value.detach().cpu().contiguous().view(torch.uint8).numpy().tobytes())
        return state.hexdigest()

    def beside(self, layer: nn.Module, index: int) -> nn.Module:
        """A layer that computes both; the weights are shared."""

        def replaced(name: str, linear: nn.Linear) -> nn.Module:
            if f"{name} up" not in self.weights:
                return linear
            return _Beside(
                linear, self.weights[f"{name} down"], self.weights[f"{name} up"], self.scale
            )

        return _twin(layer, f"{index}", replaced)

    def within(self, layer: nn.Module, index: int) -> nn.Module:
        """A layer with changed matrices of its own, in its precision; all else is shared."""

        def replaced(name: str, linear: nn.Linear) -> nn.Module:
            if f"{name} up" not in self.weights:
                return linear
            weight = linear.weight.detach()
            down, up = (
                self.weights[f"{name} {end}"].to(weight.device, torch.float32)
                for end in ("down", "up")
            )
            changed = (weight.float() if weight.dtype != torch.float64 else weight) + (
                self.scale * (up @ down)
            )
            twin = copy.copy(linear)
            twin._parameters = dict(linear._parameters)
            twin._parameters["weight"] = nn.Parameter(changed.to(weight.dtype), False)
            return twin

        return _twin(layer, f"{index}", replaced)


class _Beside(nn.Module):
    """A matrix with a learnt change beside it."""

    def __init__(self, linear: nn.Linear, down: Tensor, up: Tensor, scale: float) -> None:
        super().__init__()
        self._linear, self._scale = (linear,), scale  # no part of ours: it is not trained
        self._down, self._up = down, up

    def forward(self, x: Tensor) -> Tensor:
        (linear,) = self._linear
        plain: Tensor = linear(x)
        change = functional.linear(functional.linear(x.to(self._down.dtype), self._down), self._up)
        return plain + (self._scale * change).to(plain.dtype)


def _matrices(module: nn.Module, name: str) -> Iterator[tuple[str, nn.Linear]]:
    for part, child in module.named_children():
        if isinstance(child, nn.Linear):
            yield f"{name}.{part}", child
        else:
            yield from _matrices(child, f"{name}.{part}")


def _twin(
    module: nn.Module, name: str, replaced: Callable[[str, nn.Linear], nn.Module]
) -> nn.Module:
    """A module of its own, down to its matrices, with what `replaced` gives in their place."""
    twin = copy.copy(module)
    twin._modules = {
        part: child
        if child is None
        else replaced(f"{name}.{part}", child)
        if isinstance(child, nn.Linear)
        else _twin(child, f"{name}.{part}", replaced)
        for part, child in module._modules.items()
    }
    return twin
