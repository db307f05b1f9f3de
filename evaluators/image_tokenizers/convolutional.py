"""The backbone that grids of tokens share: a small convolutional autoencoder.

Its first and last layers change the resolution at once, so that nothing is computed at the full
one: a quarter of the arithmetic, on images of 32 pixels whose details are that small.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from paretoken.evaluators.image_tokenizers.family import SIDE, Learner, Sizes


def _norm(width: int) -> nn.GroupNorm:
    return nn.GroupNorm(8, width)


class _Block(nn.Module):
    """Two 3x3 convolutions behind norm and swish, added to the stream."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm1, self.norm2 = _norm(width), _norm(width)
        self.conv1 = nn.Conv2d(width, width, 3, padding=1)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        h = self.conv1(functional.silu(self.norm1(x)))
        out: Tensor = x + self.conv2(functional.silu(self.norm2(h)))
        return out


def halvings(grid: int) -> int:
    """How often the side of an image is halved to become the grid's."""
    return int(math.log2(SIDE // grid))


def encoder(grid: int, channels: int, sizes: Sizes) -> nn.Sequential:
    """[B, 1, 32, 32] -> [B, channels, grid, grid]."""
    layers: list[nn.Module] = []
    inputs = 1
    for _ in range(halvings(grid)):
        layers += [nn.Conv2d(inputs, sizes.width, 4, stride=2, padding=1), _Block(sizes.width)]
        inputs = sizes.width
    layers += [_Block(sizes.width) for _ in range(sizes.blocks)]
    layers += [_norm(sizes.width), nn.SiLU(), nn.Conv2d(sizes.width, channels, 1)]
    return nn.Sequential(*layers)


def decoder(grid: int, channels: int, sizes: Sizes) -> nn.Sequential:
    """[B, channels, grid, grid] -> [B, 1, 32, 32]."""
    layers: list[nn.Module] = [nn.Conv2d(channels, sizes.width, 3, padding=1)]
    layers += [_Block(sizes.width) for _ in range(sizes.blocks)]
    for _ in range(halvings(grid) - 1):
        layers += [
            nn.Conv2d(sizes.width, 4 * sizes.width, 1), nn.PixelShuffle(2), _Block(sizes.width)
        ]  # fmt: skip
    layers += [_Block(sizes.width), _norm(sizes.width), nn.SiLU()]
    layers += [nn.Conv2d(sizes.width, 4, 3, padding=1), nn.PixelShuffle(2)]
    return nn.Sequential(*layers)


def difference(again: Tensor, images: Tensor) -> Tensor:
    """What reconstructions are trained to lower: mean absolute and mean squared error."""
    error = again.float() - images
    return error.abs().mean() + error.square().mean()


class Autoencoder(Learner):
    """Encoder, decoder, and what stands between them."""

    def __init__(self, grid: int, inputs: int, outputs: int, sizes: Sizes) -> None:
        """inputs, outputs: numbers at each place that come out of the encoder, and that the
        decoder is given."""
        super().__init__()
        self.grid = grid
        self.encoder = encoder(grid, inputs, sizes)
        self.decoder = decoder(grid, outputs, sizes)

    def vectors(self, images: Tensor) -> Tensor:
        """float32 [B, grid * grid, inputs] of images [B, 1, 32, 32] in [-1, 1]."""
        out: Tensor = self.encoder(images).flatten(2).mT.float()
        return out

    def pictures(self, vectors: Tensor) -> Tensor:
        """float32 [B, 1, 32, 32], about [-1, 1], of [B, grid * grid, outputs]."""
        out: Tensor = self.decoder(self.field(vectors)).float()
        return out

    def field(self, vectors: Tensor) -> Tensor:
        """[B, numbers, grid, grid] of vectors [B, grid * grid, numbers]."""
        return vectors.mT.reshape(len(vectors), -1, self.grid, self.grid)


def full_precision(device: torch.device) -> torch.autocast:
    """A context without half precision: quantizers decide there."""
    return torch.autocast(device.type, enabled=False)
