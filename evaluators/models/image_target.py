"""LlamaGen as the decoding engine drives it: static cache, one position per row, guided pairs."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, ClassVar

import torch
from torch import Tensor

from paretoken.evaluators.models.key_value_cache import KeyValueCache
from paretoken.evaluators.models.layered import Layered, Replace
from paretoken.evaluators.models.llamagen import Transformer

if TYPE_CHECKING:
    from paretoken.evaluators.shortening.school import School


class ImageTarget(Layered):
    """A transformer ready for cached decoding; see `paretoken.evaluators.engine.target.Target`.

    Guidance doubles the batch: rows 0 … B - 1 see the class, rows B … 2B - 1 the null class.
    """

    modality: ClassVar[str] = "image"
    capturable = True

    def __init__(
        self,
        model: Transformer,
        device: torch.device,
        dtype: torch.dtype,
        school: School | None = None,
    ) -> None:
        """school: where depths learn about its layers."""
        # A copy: the next target may want the weights in another type, and as exact as they were.
        self._hold(copy.deepcopy(model).to(device, dtype), device, dtype)
        self._school = school

    def _hold(self, model: Transformer, device: torch.device, dtype: torch.dtype) -> None:
        self.model = model.eval().requires_grad_(False)
        self.vocabulary = model.config.vocabulary
        self.length = model.config.length
        self.width = model.config.width
        self.device, self.dtype = device, dtype
        self.ends: tuple[int, ...] = ()

    def begin(self, classes: Tensor, rows: Tensor, cache: KeyValueCache) -> Tensor:
        """The class tokens [n] of classes [n]: nothing comes before them."""
        return self.vocabulary + classes.to(self.device)

    def allocate(self, batch: int, guided: bool) -> KeyValueCache:
        """A cache for `batch` rows, with as many unconditional ones behind them if guided."""
        return self.model.allocate(2 * batch if guided else batch)

    def forward(
        self, tokens: Tensor, positions: Tensor, cache: KeyValueCache, guided: bool
    ) -> tuple[Tensor, Tensor | None]:
        """Conditional and, if guided, unconditional logits [B, W, V] after tokens [B, W]."""
        key_length = None
        if self.device.type == "cpu":  # reading the positions would stop a CUDA stream
            key_length = min(cache.slots, int(positions.max()) + tokens.shape[1])
        if not guided:
            return self._window(tokens, positions, cache, key_length), None
        null = torch.where(
            tokens >= self.vocabulary, self.vocabulary + self.model.config.classes, tokens
        )
        both = self._window(
            torch.cat([tokens, null]), torch.cat([positions, positions]), cache, key_length
        )
        conditional, unconditional = both.chunk(2)
        return conditional, unconditional

    def _window(
        self, tokens: Tensor, positions: Tensor, cache: KeyValueCache, key_length: int | None
    ) -> Tensor:
        return self.model.forward_window(tokens, positions, cache, key_length)

    def model_of(self, choose: Replace) -> Transformer:
        twin = copy.copy(self.model)
        layers = torch.nn.ModuleList(choose(self.model.layers))
        twin._modules = {**self.model._modules, "layers": layers}
        return twin

    def read(self, model: Transformer, prompt: int) -> None:
        """Let a model, one of `model_of`, read a class: its token is all that comes first."""
        classes = torch.tensor([prompt], device=self.device)
        nothing = torch.zeros(1, 1, dtype=torch.int64, device=self.device)
        model.states(model.condition(classes), nothing)

    @property
    def asked(self) -> int:
        """How many classes there are."""
        return self.model.config.classes

    @property
    def layers(self) -> int:
        """How many layers the model has."""
        return self.model.config.layers

    @property
    def width_of_states(self) -> int:
        """Numbers of a token's state between two layers."""
        return self.model.config.dim
