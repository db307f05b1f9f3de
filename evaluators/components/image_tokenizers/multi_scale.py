"""Multi-scale: grids from one place up to all, each of which writes what those before left over.

What is left over is brought down to a grid's size, each place takes its nearest code, and that is
brought up again, smoothed and taken away. One codebook serves all grids; `kept` decodes from the
first of them. The sequence is written one token after the other here, not grid by grid at once.
Source: Tian et al., VAR (2024, arXiv:2404.02905).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from paretoken.evaluators.components.image_tokenizers.vq import BETA
from paretoken.evaluators.image_tokenizers.coder import Coder, Decoded
from paretoken.evaluators.image_tokenizers.convolutional import (
    Autoencoder,
    difference,
    full_precision,
)
from paretoken.evaluators.image_tokenizers.family import ImageTokenizer, Learner, Sizes
from paretoken.evaluators.image_tokenizers.layout import Layout
from paretoken.evaluators.image_tokenizers.quantizing import DEAD
from paretoken.evaluators.models.vq import to_uint8
from paretoken.evaluators.workloads.fashion.data import pixels
from paretoken.spaces.component import knob

SCALES = {"1,2,4": (1, 2, 4), "1,2,4,8": (1, 2, 4, 8), "1,2,3,4,6,8": (1, 2, 3, 4, 6, 8)}
_SMOOTHED = 0.5
_AT_ONCE = 256


class _Scales(Autoencoder):
    def __init__(
        self, scales: tuple[int, ...], codebook: int, dim: int, decay: float, sizes: Sizes
    ) -> None:
        from vector_quantize_pytorch import VectorQuantize

        super().__init__(scales[-1], dim, dim, sizes)
        self.scales, self.guarded = scales, codebook
        self.smooth = nn.Conv2d(dim, dim, 3, padding=1)
        places = sum(side * side for side in scales)
        self.quantizer = VectorQuantize(
            dim=dim, codebook_size=codebook, decay=decay, commitment_weight=0.0, kmeans_init=True,
            threshold_ema_dead_code=DEAD * sizes.batch * places / codebook, rotation_trick=False,
        )  # fmt: skip

    def risen(self, codes: Tensor, side: int) -> Tensor:
        """The field [B, dim, grid, grid] that codes [B, side * side, dim] of one grid stand for."""
        field = codes.mT.reshape(len(codes), -1, side, side)
        if side != self.grid:
            field = functional.interpolate(field, size=(self.grid, self.grid), mode="bicubic")
        smoothed: Tensor = self.smooth(field)
        return (1 - _SMOOTHED) * field + _SMOOTHED * smoothed

    def parted(self, field: Tensor) -> tuple[list[Tensor], list[Tensor]]:
        """Tokens [B, s * s] of every grid, and the sum of fields after each of them.

        In training the codebook learns from all grids together, once.
        """
        rest, total = field.detach(), torch.zeros_like(field)
        tokens, sums, seen = [], [], []
        learns = self.training
        self.quantizer.eval()
        for side in self.scales:
            small = functional.adaptive_avg_pool2d(rest, side).flatten(2).mT
            if learns and not bool(self.quantizer._codebook.initted):
                self.quantizer.train()  # it begins with the vectors of the first grid that has many
                self.quantizer(self._many(field))
                self.quantizer.eval()
            _, ids, _ = self.quantizer(small)
            codes = self.quantizer.get_codes_from_indices(ids)
            raised = self.risen(codes, side)
            total = total + raised
            rest = rest - raised.detach()
            tokens.append(ids)
            sums.append(total)
            seen.append(small)
        if learns:
            self.quantizer.train()
            self.quantizer(torch.cat(seen, 1))
        return tokens, sums

    def _many(self, field: Tensor) -> Tensor:
        small = [functional.adaptive_avg_pool2d(field.detach(), s).flatten(2) for s in self.scales]
        return torch.cat(small, 2).mT

    def loss(self, images: Tensor) -> Tensor:
        field = self.field(self.vectors(images))
        with full_precision(images.device):
            _, sums = self.parted(field)
            # The smoothing learns from how near each sum comes, the encoder from how far it stays.
            apart = torch.stack(
                [
                    BETA * functional.mse_loss(field, total.detach())
                    + functional.mse_loss(total, field.detach())
                    for total in sums
                ]
            ).mean()
            passed = field + (sums[-1] - field).detach()
        return difference(self.pictures(passed.flatten(2).mT), images) + apart

    def chosen(self, images: Tensor) -> Tensor:
        return self.tokens(images).flatten()

    def tokens(self, images: Tensor) -> Tensor:
        """int64 [B, T] of images in [-1, 1], grid after grid."""
        with full_precision(images.device):
            field = self.field(self.vectors(images))
            return torch.cat(self.parted(field)[0], 1)

    def summed(self, ids: Tensor) -> Tensor:
        """The field [B, dim, side, side] of tokens [B, k], which end with a whole grid."""
        total, place = torch.zeros((), device=ids.device), 0
        for side in self.scales:
            if place >= ids.shape[1]:
                break
            codes = self.quantizer.get_codes_from_indices(ids[:, place : place + side * side])
            total = total + self.risen(codes, side)
            place += side * side
        return total


class MultiScale(ImageTokenizer):
    """All places of every grid, the smallest first."""

    decoding = ("kept",)

    scales: str = knob("1,2,4,8", among=tuple(SCALES), doc="Sides of the grids.")
    codebook: int = knob(512, low=16, high=16384, grid=(256, 1024), log=True, doc="Codes.")
    kept: int = knob(
        6, low=1, high=6, grid=(2, 3, 6), doc="Grids decoded from; all where there are fewer."
    )
    dim: int = knob(8, low=2, high=64, grid=(8,), doc="Numbers in a code.")
    decay: float = knob(
        0.9, low=0.5, high=0.999, grid=(0.9,), doc="How much of a step's average the next keeps."
    )

    def learner(self, sizes: Sizes) -> Learner:
        return _Scales(SCALES[self.scales], self.codebook, self.dim, self.decay, sizes)

    def coder(self, learner: Learner | None, images: Tensor) -> Coder:
        assert isinstance(learner, _Scales)
        return _Grids(learner, self.codebook, self.kept)

    def simplified(self) -> ImageTokenizer:
        usual = self.fields["kept"].default
        if self.kept >= len(SCALES[self.scales]) and self.kept != usual:
            whole: ImageTokenizer = self.clone(override={"kept": usual})
            return whole
        return self


class _Grids(Coder):
    calls = 1

    def __init__(self, learner: _Scales, codebook: int, kept: int) -> None:
        self._learner = learner.eval()
        self.layout = Layout.stages(codebook, [(s, s) for s in learner.scales], shared=True)
        self.kept = sum(side * side for side in learner.scales[:kept])

    @torch.inference_mode()
    def encode(self, images: Tensor) -> Tensor:
        return torch.cat(
            [self._learner.tokens(pixels(part)) for part in torch.split(images, _AT_ONCE)]
        )

    @torch.inference_mode()
    def decode(self, ids: Tensor, seed: int) -> Decoded:
        found = [
            to_uint8(self._learner.pictures(self._learner.summed(part).flatten(2).mT))
            for part in torch.split(ids[:, : self.kept], _AT_ONCE)
        ]
        return Decoded(torch.cat(found), torch.zeros(len(ids), dtype=torch.bool))


plugin = MultiScale
