"""A language model that runs only some of its layers, which ones depending on prompt and position.

A layer that no row needs for any token of a window is not run; one that some need runs for all,
and passes the others' states through as they came. What it then writes for the others is never
looked at: whoever needs a layer needed it at every earlier place (`Depth.kept`). So rows may stand
where they like and be rolled back as in the whole model.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from paretoken.evaluators.engine.tree import Tree
from paretoken.evaluators.models.cropped_caches import CroppedCaches
from paretoken.evaluators.models.draft_head import DraftHead
from paretoken.evaluators.models.row_cache import RowCache
from paretoken.evaluators.models.text_target import TextTarget
from paretoken.spaces.errors import MeasurementFailed


class ShortenedTarget(TextTarget):
    """`whole` with the layers of a table `kept` [P or 1, 1 + N, L]; see `Depth.kept`.

    Which layers a window needs is asked of the device, once a forward.
    """

    def __init__(self, whole: TextTarget, kept: Tensor) -> None:
        assert kept.shape[1:] == (1 + whole.length, whole.layers)
        assert not (kept[:, 1:] & ~kept[:, :-1]).any(), "a layer never comes back"
        self._whole = whole
        self._gate = _Gate()
        model = whole.model_of(self._gated)
        super().__init__(
            model, whole.contexts, length=whole.length, ends=whole.ends, device=whole.device,
            dtype=whole.dtype, trigrams=whole.trigrams,
        )  # fmt: skip
        self.capturable = False  # which layers run is known from round to round
        self._kept = kept.expand(len(whole.contexts), -1, -1).to(whole.device)

    def _gated(self, layers: torch.nn.ModuleList) -> list[torch.nn.Module]:
        return [_Gated(layer, i, self._gate) for i, layer in enumerate(layers)]

    def allocate(self, batch: int, guided: bool) -> RowCache:
        cache = super().allocate(batch, guided)
        if isinstance(cache, CroppedCaches):
            raise MeasurementFailed(
                "unsupported",
                "leaving layers out needs a model whose layers attend to all places, and "
                f"{type(self.model).__name__} has others: use decoders/speculative.",
            )
        return _PromptCache(batch, self._slots, self.device)

    def begin(self, classes: Tensor, rows: Tensor, cache: Any) -> Tensor:
        cache.prompts[rows] = classes
        pending = []
        for prompt, row in zip(torch.split(classes, 1), torch.split(rows, 1), strict=True):
            self._gate.aim(self._kept[prompt, :1])
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
        steps = torch.arange(tokens.shape[1], device=self.device) if tree is None else tree.depth
        fed = (positions.unsqueeze(-1) + 1 + steps).clamp(max=self.length)
        self._gate.aim(self._kept[cache.prompts.unsqueeze(-1), fed])
        return super().forward(tokens, positions, cache, guided, tree)

    def small(self) -> TextTarget:
        return self._whole.small()

    def head(self) -> DraftHead:
        return self._whole.head()

    def with_layers(self, kept: Any) -> TextTarget:
        return self._whole.with_layers(kept)


class _PromptCache(RowCache):
    """A row cache that knows which prompt [B] each row answers."""

    def __init__(self, rows: int, slots: int, device: torch.device) -> None:
        super().__init__(rows, slots, device)
        self.prompts = torch.zeros(rows, dtype=torch.int64, device=device)


class _Gate:
    """For each layer: whether it runs, and where some need it only, for whom, [B, W, 1]."""

    def __init__(self) -> None:
        self.layers: list[tuple[bool, Tensor | None]] = []

    def aim(self, kept: Tensor) -> None:
        """Set up the next forward, of a window that needs layers kept [B, W, L]."""
        some, every = torch.stack([kept.any(0).any(0), kept.all(0).all(0)]).tolist()
        self.layers = [
            (runs, None if all_need else kept[..., i : i + 1])
            for i, (runs, all_need) in enumerate(zip(some, every, strict=True))
        ]


class _Gated(torch.nn.Module):
    """A layer behind the gate."""

    def __init__(self, layer: torch.nn.Module, index: int, gate: _Gate) -> None:
        super().__init__()
        self.layer, self._index, self._gate = layer, index, gate

    def forward(self, hidden_states: Tensor, *args: Any, **kwargs: Any) -> Any:
        runs, needed = self._gate.layers[self._index]
        if not runs:
            return hidden_states
        found: Tensor = self.layer(hidden_states, *args, **kwargs)
        return found if needed is None else torch.where(needed, found, hidden_states)

    def __getattr__(self, name: str) -> Any:
        """What a model asks of its layers besides running them, such as their kind of attention."""
        try:
            return super().__getattr__(name)
        except AttributeError:
            return getattr(super().__getattr__("layer"), name)
