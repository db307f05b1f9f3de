"""A language model that runs only some of its layers, which ones depending on prompt and position.

A layer that no row needs for any token of a window is not run; one that some need runs for all,
and passes the others' states through as they came. What it then writes for the others is never
looked at: whoever needs a layer needed it at every earlier place (`Depth.kept`). So rows may stand
where they like and be rolled back as in the whole model.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from paretoken.evaluators.engine.tree import Tree
from paretoken.evaluators.models.cropped_caches import CroppedCaches
from paretoken.evaluators.models.draft_head import DraftHead
from paretoken.evaluators.models.gated_layer import Gated
from paretoken.evaluators.models.lora import LoRA
from paretoken.evaluators.models.row_cache import RowCache
from paretoken.evaluators.models.stages import Stages
from paretoken.evaluators.models.text_target import TextTarget
from paretoken.spaces.errors import MeasurementFailed

if TYPE_CHECKING:
    from paretoken.evaluators.engine.depth import Depth
    from paretoken.evaluators.shortening.school import School


class ShortenedTarget(TextTarget):
    """`whole` with the layers of a table `kept` [P or 1, 1 + N, L]; see `Depth.kept`.

    adapter: changes of its matrices, that it decodes with. prompts: those that will be asked, all
    of them if left out; a layer that none of them needs is never run.
    """

    def __init__(
        self,
        whole: TextTarget,
        kept: Tensor,
        adapter: LoRA | None = None,
        prompts: Tensor | None = None,
    ) -> None:
        assert kept.shape[1:] == (1 + whole.length, whole.layers)
        self._whole = whole
        self._stages = Stages(kept, prompts, whole.device)
        self._chosen: Sequence[bool | Tensor] = ()
        layers = whole.layers_with(adapter)
        model = whole.model_of(lambda _: [Gated(one, i, self._of) for i, one in enumerate(layers)])
        super().__init__(
            model, whole.contexts, length=whole.length, ends=whole.ends, device=whole.device,
            dtype=whole.dtype, trigrams=whole.trigrams,
        )  # fmt: skip

    def _of(self, layer: int, states: Tensor) -> bool | Tensor:
        return self._chosen[layer]

    @property
    def begins(self) -> tuple[int, ...]:
        """See `engine.target.Staged`."""
        return self._stages.begins

    def aim(self, least: int) -> None:
        self._stages.aim(least)

    def allocate(self, batch: int, guided: bool) -> RowCache:
        cache = super().allocate(batch, guided)
        if isinstance(cache, CroppedCaches):
            raise MeasurementFailed(
                "unsupported",
                "leaving layers out needs a model whose layers attend to all places, and "
                f"{type(self.model).__name__} has others: use decoders/speculative, "
                "and another drafter than fewer_layers.",
            )
        return _PromptCache(batch, self._slots, self.device)

    def begin(self, classes: Tensor, rows: Tensor, cache: Any) -> Tensor:
        cache.prompts[rows] = classes
        pending = []
        for prompt, row in zip(torch.split(classes, 1), torch.split(rows, 1), strict=True):
            self._chosen = self._stages.read(int(prompt))
            pending.append(super().begin(prompt, row, cache))
        return torch.cat(pending)

    def forward(
        self,
        tokens: Tensor,
        positions: Tensor,
        cache: Any,
        guided: bool,
        tree: Tree | None = None,
    ) -> tuple[Tensor, None]:
        if tree is None:
            steps = torch.arange(tokens.shape[1], device=self.device)
        else:
            steps = tree.depth
        if self.device.type == "cpu":  # where nobody captures, rows may be asked where they are
            self.aim(int(positions.min()))
        self._chosen = self._stages.choices(cache.prompts, positions, steps)
        return super().forward(tokens, positions, cache, guided, tree)

    def small(self) -> TextTarget:
        return self._whole.small()

    def head(self) -> DraftHead:
        return self._whole.head()

    def with_layers(self, kept: Any) -> TextTarget:
        return self._whole.with_layers(kept)

    def shortened(self, depth: Depth, prompts: Tensor | None = None) -> TextTarget:
        return self._whole.shortened(depth, prompts)

    def school(self) -> School:
        return self._whole.school()


class _PromptCache(RowCache):
    """A row cache that knows which prompt [B] each row answers."""

    def __init__(self, rows: int, slots: int, device: torch.device) -> None:
        super().__init__(rows, slots, device)
        self.prompts = torch.zeros(rows, dtype=torch.int64, device=device)
