"""FSQ: every number of a short vector is rounded to one of a few levels; there is no codebook.

Levels are named from the most down: a layer that is learnt stands in front of them, so their order
makes no difference.
Source: Mentzer et al. (2023, arXiv:2309.15505).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from paretoken.evaluators.image_tokenizers.coder import Coder
from paretoken.evaluators.image_tokenizers.family import ImageTokenizer, Learner, Sizes
from paretoken.evaluators.image_tokenizers.quantizing import GridCoder, Quantizing
from paretoken.spaces.component import knob

# About 2^4, 2^6, 2^8, 2^10, 2^12 and 2^14 entries.
LEVELS = ("5,3", "8,8", "8,6,5", "8,5,5,5", "7,5,5,5,5", "8,8,8,6,5")


def numbers(levels: str) -> list[int]:
    """The levels of each number."""
    return [int(part) for part in levels.split(",")]


class _Rounded(Quantizing):
    def quantized(self, vectors: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        codes, tokens = self.quantizer(vectors)
        return codes, tokens.unsqueeze(-1), torch.zeros((), device=vectors.device)

    def codes(self, tokens: Tensor) -> Tensor:
        found: Tensor = self.quantizer.indices_to_codes(tokens[..., 0])
        return found


class FSQ(ImageTokenizer):
    """One token for each place of a grid: its rounded numbers together."""

    grid: int = knob(8, among=(4, 8, 16), doc="Tokens along one side.")
    levels: str = knob(
        "8,5,5,5", among=LEVELS, grid=LEVELS[2:5], doc="Levels of every number of a vector."
    )

    def learner(self, sizes: Sizes) -> Learner:
        from vector_quantize_pytorch import FSQ as Quantizer

        levels = numbers(self.levels)
        return _Rounded(self.grid, len(levels), Quantizer(levels), sizes, guarded=0)

    def coder(self, learner: Learner | None, images: Tensor) -> Coder:
        assert isinstance(learner, Quantizing)
        return GridCoder(learner, math.prod(numbers(self.levels)))


plugin = FSQ
