"""What targets of texts and of images have in common as stacks of layers, some of which may go."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

import torch

from paretoken.evaluators.models.lora import LoRA
from paretoken.spaces.errors import MeasurementFailed

if TYPE_CHECKING:
    from paretoken.evaluators.shortening.school import School

# Puts something of ours in the place of a model's layers.
Replace = Callable[[torch.nn.ModuleList], Iterable[torch.nn.Module]]


class Layered(ABC):
    """A target whose layers can be asked for."""

    _school: School | None = None
    _changed: tuple[str, list[torch.nn.Module]] | None = None

    @abstractmethod
    def model_of(self, choose: Replace) -> Any:
        """The model with the layers that are chosen from its own; the weights are shared."""

    @property
    def every_layer(self) -> torch.nn.ModuleList:
        """The model's layers."""
        found: list[torch.nn.ModuleList] = []

        def look(layers: torch.nn.ModuleList) -> Iterable[torch.nn.Module]:
            found.append(layers)
            return layers

        self.model_of(look)
        return found[0]

    def layers_with(self, adapter: LoRA | None) -> Sequence[torch.nn.Module]:
        """Its layers, with what changes their matrices added in; the last ones asked for stay, for
        they are as large as the model."""
        every = list(self.every_layer)
        if adapter is None:
            return every
        if self._changed is None or self._changed[0] != adapter.digest:
            self._changed = None
            layers = [adapter.within(layer, i) for i, layer in enumerate(every)]
            self._changed = adapter.digest, layers
        return self._changed[1]

    def school(self) -> School:
        """Where depths learn about the model; fails a candidate where nobody teaches it."""
        if self._school is None:
            raise MeasurementFailed(
                "unsupported",
                "this workload does not train depths, and calibrates no sets: use sets by rule "
                "(--set spread=evenly,middle), rank 0, and another depth than routed.",
            )
        return self._school
