"""A language model whose law of every answer is known: a random law for every prefix.

What was fed stands for keys and values, so that a drafter or an engine that loses its place reads
wrong prefixes.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from paretoken.evaluators.engine.trigrams import Trigrams
from paretoken.spaces.errors import MeasurementFailed

# What drafters may ask of a real model beside what every target has.
_LACKS = ("head", "keep_states", "layers", "model", "shortened", "shortening", "with_layers")


@dataclass(frozen=True)
class _Prompt:
    """See `models.text_target.Context`, which needs transformers."""

    tokens: Tensor
    source: tuple[int, int]


class ToldLaws:
    """V ** N answers of N tokens behind a prompt of two; see `engine.target.Target`.

    small() has other laws over the same tokens.
    """

    modality: ClassVar[str] = "text"
    capturable = True

    def __init__(self, vocabulary: int, length: int, seed: int = 0) -> None:
        self.vocabulary, self.length, self.width = vocabulary, length, length
        self.device, self._seed = torch.device("cpu"), seed
        self.ends: tuple[int, ...] = ()
        self.contexts = (_Prompt(torch.tensor([1, 0]), (0, 2)),)
        generator = torch.Generator().manual_seed(100 * vocabulary + length + seed)
        shape = (length, vocabulary ** (length - 1), vocabulary)
        self.logits = 1.5 * torch.randn(shape, generator=generator, dtype=torch.float64)

    def __getattr__(self, name: str) -> Any:
        if name in _LACKS:
            raise MeasurementFailed(
                "unsupported", f"a model that is a table of laws has no {name.replace('_', ' ')}"
            )
        raise AttributeError(name)

    def begin(self, classes: Tensor, rows: Tensor, cache: Tensor) -> Tensor:
        cache[rows] = -1
        cache[rows, 0] = 1
        return torch.zeros_like(classes)

    def allocate(self, batch: int, guided: bool) -> Tensor:
        return torch.zeros(batch, 2 + self.length + 64, dtype=torch.int64)

    def forward(
        self, tokens: Tensor, positions: Tensor, cache: Tensor, guided: bool, tree: Any = None
    ) -> tuple[Tensor, None]:
        if tree is not None:
            return self._forward_tree(tokens, positions, cache, tree), None
        place = positions.unsqueeze(1) + 1 + torch.arange(tokens.shape[1])
        cache.scatter_(1, place, tokens)
        assert (cache[:, :2] == torch.tensor([1, 0])).all()  # the prompt, read once
        index = torch.zeros_like(tokens)
        for depth in range(1, self.length):
            digit = cache[:, depth + 1].unsqueeze(1)
            index = torch.where(depth < place, index * self.vocabulary + digit, index)
        return self.logits[(place - 1).clamp(0, self.length - 1), index], None

    def _forward_tree(self, tokens: Tensor, positions: Tensor, cache: Tensor, tree: Any) -> Tensor:
        """Every node by itself: what stands, and then its ancestors alone."""
        start = positions.unsqueeze(1) + 1
        cache.scatter_(1, start + torch.arange(tree.first, tree.sees.shape[1]), tokens)
        found = []
        for sees, depth in zip(tree.sees, tree.depth.tolist(), strict=True):
            way = cache.gather(1, start + sees.nonzero().T)  # the pending token first
            line = cache.scatter(1, start + torch.arange(depth + 1), way)
            found.append(self.forward(way[:, -1:], positions + depth, line, False)[0])
        return torch.cat(found, 1)

    def keep(self, path: Tensor, positions: Tensor, cache: Tensor) -> None:
        first = positions.unsqueeze(1) + 2
        moved = cache.gather(1, first + path)
        cache.scatter_(1, first + torch.arange(path.shape[1]), moved)

    def trigrams(self) -> Trigrams:
        texts = [[1, 0, 2, 1, 0, 1, 2], [0, 2, 2, 1, 0, 0, 1, 1, 2, 0]]
        return Trigrams.counted(self.vocabulary, texts)

    def small(self) -> ToldLaws:
        return ToldLaws(self.vocabulary, self.length, self._seed + 1)

    def law(self) -> dict[tuple[int, ...], float]:
        """The exact probability of every answer."""
        found = {}
        for sequence in itertools.product(range(self.vocabulary), repeat=self.length):
            probability, index = 1.0, 0
            for depth, token in enumerate(sequence):
                probability *= float(self.logits[depth, index].softmax(-1)[token])
                index = index * self.vocabulary + token
            found[sequence] = probability
        return found
