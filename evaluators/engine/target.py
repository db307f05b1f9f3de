"""Target: the model whose law the decoder is to follow, as the engine sees it."""

from __future__ import annotations

from typing import Any, ClassVar, Protocol, runtime_checkable

import torch
from torch import Tensor

from paretoken.evaluators.engine.tree import Tree


class Target(Protocol):
    """An autoregressive model with a static cache and a position for every row.

    A sample has `length` tokens over `vocabulary` values on a grid `width` columns wide; it is over
    before that where one of `ends` was emitted. The token before the first one is what it begins
    from (`begin`): the class of an image, the last token of a prompt. Rolling back is moving the
    position back.
    """

    # Which components fit: those of this modality and those of none; see `Component.modality`.
    modality: ClassVar[str]

    vocabulary: int
    length: int
    width: int
    device: torch.device
    ends: tuple[int, ...]
    # Whether a forward asks the host nothing, so that a CUDA graph may hold it.
    capturable: bool

    def begin(self, classes: Tensor, rows: Tensor, cache: Any) -> Tensor:
        """Start samples of classes [n] (images) or prompts [n] (text) in some rows [n] of a cache.

        What comes before the token returned is in the cache afterwards. Returns the pending token
        of each, [n] ids; of an image a class token, >= vocabulary."""

    def allocate(self, batch: int, guided: bool) -> Any:
        """A cache for `batch` rows (twice as many inside if guided)."""

    def forward(
        self, tokens: Tensor, positions: Tensor, cache: Any, guided: bool
    ) -> tuple[Tensor, Tensor | None]:
        """Logits after each of W tokens fed at positions, positions + 1, …

        tokens: [B, W], positions: [B]. Returns conditional and (if guided) unconditional logits
        [B, W, V] in float32 or wider. Only positions up to a row's own are read.
        """


@runtime_checkable
class Staged(Protocol):
    """A model that needs fewer layers the further its rows stand; see `models.stages`.

    begins: the positions that its stages begin at, in order; the first is -1.
    """

    begins: tuple[int, ...]

    def aim(self, least: int) -> None:
        """Until told otherwise no row that matters is fed before position `least`."""


@runtime_checkable
class TreeTarget(Target, Protocol):
    """A target that can look at a tree of tokens at once, and keep one path of it."""

    def forward(
        self, tokens: Tensor, positions: Tensor, cache: Any, guided: bool, tree: Tree | None = None
    ) -> tuple[Tensor, Tensor | None]:
        """As a target's; a tree's tokens [B, W] stand at its depths behind positions [B], and see
        their ancestors alone."""

    def keep(self, path: Tensor, positions: Tensor, cache: Any) -> None:
        """Move nodes path [B, levels] of the tree fed at positions [B] to where a chain would have
        put them: the next window continues it."""
