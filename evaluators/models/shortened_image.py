"""LlamaGen with only some of its layers, which ones depending on class and position.

As with texts (`shortened_target`), a layer that no row needs for any token of a window is not run,
and one that some need passes the others' states through.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from paretoken.evaluators.models.image_target import ImageTarget
from paretoken.evaluators.models.key_value_cache import KeyValueCache
from paretoken.evaluators.models.lora import LoRA
from paretoken.evaluators.models.stages import Stages


class ShortenedImage(ImageTarget):
    """`whole` with the layers of a table `kept` [classes or 1, 1 + N, L]; see `Depth.kept`.

    adapter: changes of its matrices, that it decodes with. classes: those that will be asked, all
    of them if left out.
    """

    def __init__(
        self,
        whole: ImageTarget,
        kept: Tensor,
        adapter: LoRA | None = None,
        classes: Tensor | None = None,
    ) -> None:
        assert kept.shape[1:] == (1 + whole.length, whole.layers)
        self._stages = Stages(kept, classes, whole.device)
        self._chosen: Sequence[bool | Tensor] = ()
        layers = whole.layers_with(adapter)
        self._hold(whole.model_of(lambda _: layers), whole.device, whole.dtype)

    @property
    def begins(self) -> tuple[int, ...]:
        """See `engine.target.Staged`."""
        return self._stages.begins

    def aim(self, least: int) -> None:
        self._stages.aim(least)

    def begin(self, classes: Tensor, rows: Tensor, cache: KeyValueCache) -> Tensor:
        cache.classes[rows] = classes.to(self.device)
        return super().begin(classes, rows, cache)

    def forward(
        self, tokens: Tensor, positions: Tensor, cache: KeyValueCache, guided: bool
    ) -> tuple[Tensor, Tensor | None]:
        steps = torch.arange(tokens.shape[1], device=self.device)
        if self.device.type == "cpu":  # where nobody captures, rows may be asked where they are
            self.aim(int(positions.min()))
        chosen = self._stages.choices(cache.classes[: len(tokens)], positions, steps)
        if guided:  # the unconditional twin of a row leaves out what the row does
            chosen = [torch.cat([one, one]) if isinstance(one, Tensor) else one for one in chosen]
        self._chosen = chosen
        return super().forward(tokens, positions, cache, guided)

    def _window(
        self, tokens: Tensor, positions: Tensor, cache: KeyValueCache, key_length: int | None
    ) -> Tensor:
        return self.model.forward_window(tokens, positions, cache, key_length, self._chosen)
