"""Autoencoders with a quantizer of vector-quantize-pytorch between encoder and decoder.

Source: the library's documentation, https://github.com/lucidrains/vector-quantize-pytorch (MIT).
"""

from __future__ import annotations

from abc import abstractmethod
from typing import Any

import torch
from torch import Tensor

from paretoken.evaluators.image_tokenizers.coder import Coder, Decoded
from paretoken.evaluators.image_tokenizers.convolutional import (
    Autoencoder,
    difference,
    full_precision,
)
from paretoken.evaluators.image_tokenizers.family import Sizes
from paretoken.evaluators.image_tokenizers.layout import Layout
from paretoken.evaluators.models.vq import to_uint8
from paretoken.evaluators.workloads.fashion.data import pixels

_AT_ONCE = 256
# A code is re-seeded with a vector of the batch where its average count falls below this share of
# what each would have if all were chosen alike: whatever the batch, the same rule.
DEAD = 0.1


def dead_below(tokens: int, codebook: int, batch: int) -> float:
    """The average count below which a code is dead; tokens: of one image."""
    return DEAD * batch * tokens / codebook


class Quantizing(Autoencoder):
    """Base: a grid of vectors, each of which a quantizer turns into tokens."""

    def __init__(self, grid: int, dim: int, quantizer: Any, sizes: Sizes, guarded: int) -> None:
        super().__init__(grid, dim, dim, sizes)
        self.quantizer = quantizer
        self.guarded = guarded

    def loss(self, images: Tensor) -> Tensor:
        vectors = self.vectors(images)
        with full_precision(images.device):
            codes, _, auxiliary = self.quantized(vectors)
        return difference(self.pictures(codes), images) + auxiliary

    def chosen(self, images: Tensor) -> Tensor:
        return self.tokens(images)[..., 0].flatten()

    def tokens(self, images: Tensor) -> Tensor:
        """int64 [B, places, tokens of a place] of images in [-1, 1]."""
        with full_precision(images.device):
            return self.quantized(self.vectors(images))[1].long()

    @abstractmethod
    def quantized(self, vectors: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Codes like vectors [B, places, dim], their tokens [B, places, q] and a further loss."""

    @abstractmethod
    def codes(self, tokens: Tensor) -> Tensor:
        """float32 [B, places, dim] of tokens [B, places, q]; there may be fewer than q."""


class GridCoder(Coder):
    """Tokens in raster order; stages of a residual one after the other, each a whole grid."""

    calls = 1

    def __init__(self, learner: Quantizing, entries: int, stages: int = 1, kept: int = 0) -> None:
        """stages: tokens of a place. kept: stages that are decoded from, all by default."""
        self._learner = learner.eval()
        self._stages, self._read = stages, kept or stages
        grid = (learner.grid, learner.grid)
        self.layout = Layout.stages(entries, [grid] * stages, shared=False)
        self.kept = self._read * learner.grid**2

    @torch.inference_mode()
    def encode(self, images: Tensor) -> Tensor:
        found = [self._learner.tokens(pixels(part)) for part in torch.split(images, _AT_ONCE)]
        return torch.cat(found).mT.flatten(1)

    @torch.inference_mode()
    def decode(self, ids: Tensor, seed: int) -> Decoded:
        read = ids[:, : self.kept].reshape(len(ids), self._read, -1).mT
        found = [
            to_uint8(self._learner.pictures(self._learner.codes(part)))
            for part in torch.split(read, _AT_ONCE)
        ]
        return Decoded(torch.cat(found), torch.zeros(len(ids), dtype=torch.bool))
