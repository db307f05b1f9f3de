"""One-dimensional: a line of tokens as flextok's, with a decoder of a single call.

What a flow would draw, this one foretells: the mean of what the tokens leave open, which is sharp
where they say enough and blurred where they do not.
Source: Yu et al., TiTok (2024, arXiv:2406.07550); nested dropout as in FlexTok (arXiv:2502.13967).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from paretoken.evaluators.components.image_tokenizers.flextok import LEVELS
from paretoken.evaluators.components.image_tokenizers.fsq import numbers
from paretoken.evaluators.image_tokenizers.coder import Coder
from paretoken.evaluators.image_tokenizers.convolutional import difference
from paretoken.evaluators.image_tokenizers.family import ImageTokenizer, Learner, Sizes
from paretoken.evaluators.image_tokenizers.prefix import PrefixCoder
from paretoken.evaluators.image_tokenizers.registers import (
    DRAWS,
    PATCH,
    PLACES,
    Layer,
    RegisterLearner,
    joined,
    kept_at_random,
)
from paretoken.spaces.component import knob


class _Foretelling(RegisterLearner):
    def __init__(self, registers: int, levels: list[int], draw: str, sizes: Sizes) -> None:
        super().__init__(registers, levels, draw, sizes)
        self.blank = nn.Parameter(0.02 * torch.randn(PLACES, sizes.width))
        self.back = nn.ModuleList(Layer(sizes.width, False) for _ in range(2 * sizes.blocks))
        self.last = nn.Sequential(nn.LayerNorm(sizes.width), nn.Linear(sizes.width, PATCH**2))

    def pictures(self, registers: Tensor) -> Tensor:
        """float32 images of registers [B, K, D]."""
        blank = self.blank.expand(len(registers), -1, -1).to(registers.dtype)
        x = torch.cat([blank, registers], 1)
        for layer in self.back:
            x = layer(x, None)
        return joined(self.last(x[:, :PLACES]).float())

    def loss(self, images: Tensor) -> Tensor:
        codes, _ = self.rounded(self.vectors(images))
        if self.draw == "all":
            kept = torch.full((len(images),), self.registers, device=images.device)
        else:
            kept = kept_at_random(len(images), self.registers, self.draw, images.device)
        return difference(self.pictures(self.shown(codes, kept)), images)


class OneDimensional(ImageTokenizer):
    """Up to `registers` tokens, with no places."""

    decoding = ("kept",)

    registers: int = knob(32, low=1, high=64, grid=(16, 32, 64), doc="Tokens that are trained.")
    levels: str = knob("8,5,5,5", among=LEVELS, grid=("8,5,5,5", "7,5,5,5,5"), doc="As of fsq.")
    draw: str = knob(
        "all", among=("all", *DRAWS), grid=("all", "uniform"),
        doc="How many tokens training keeps; but for all, as of flextok.",
    )  # fmt: skip
    kept: int = knob(
        64, low=1, high=64, grid=(4, 8, 16, 64),
        doc="Tokens that images are decoded from; all where there are fewer.",
    )  # fmt: skip

    def learner(self, sizes: Sizes) -> Learner:
        return _Foretelling(self.registers, numbers(self.levels), self.draw, sizes)

    def coder(self, learner: Learner | None, images: Tensor) -> Coder:
        assert isinstance(learner, _Foretelling)
        return _AtOnce(learner, numbers(self.levels), min(self.kept, self.registers))

    def simplified(self) -> ImageTokenizer:
        usual = self.fields["kept"].default
        if self.kept >= self.registers and self.kept != usual:
            whole: ImageTokenizer = self.clone(override={"kept": usual})
            return whole
        return self


class _AtOnce(PrefixCoder):
    calls = 1

    def pictures(self, codes: Tensor, first: int, seed: int) -> Tensor:
        learner = self.learner
        assert isinstance(learner, _Foretelling)
        kept = torch.full((len(codes),), codes.shape[1], device=codes.device)
        return learner.pictures(learner.shown(codes, kept))


plugin = OneDimensional
