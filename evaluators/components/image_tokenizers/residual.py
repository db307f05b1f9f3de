"""Residual VQ: each stage has a codebook of its own for what the stages before have left over.

Tokens of a whole stage come before those of the next, so that the first stages are a beginning of
the sequence: `kept` decodes from them, and a model that generates may stop there. With dropout,
training leaves out the last stages by chance, which is what makes beginnings good.
Source: Zeghidour et al., SoundStream (2021, arXiv:2107.03312); Lee et al. (2022, arXiv:2203.01941).
"""

from __future__ import annotations

import torch
from torch import Tensor

from paretoken.evaluators.components.image_tokenizers.vq import BETA, VQ
from paretoken.evaluators.image_tokenizers.coder import Coder
from paretoken.evaluators.image_tokenizers.family import ImageTokenizer, Learner, Sizes
from paretoken.evaluators.image_tokenizers.quantizing import GridCoder, Quantizing, dead_below
from paretoken.spaces.component import Component, knob


class _Stages(Quantizing):
    def quantized(self, vectors: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        codes, tokens, auxiliary = self.quantizer(vectors)
        return codes, tokens, auxiliary.sum()

    def codes(self, tokens: Tensor) -> Tensor:
        found: Tensor = sum(
            (
                layer.get_codes_from_indices(tokens[..., nth])
                for nth, layer in zip(range(tokens.shape[-1]), self.quantizer.layers, strict=False)
            ),
            torch.zeros((), device=tokens.device),
        )
        return found


class Residual(ImageTokenizer):
    """Several tokens for each place of a grid, the coarse ones first."""

    decoding = ("kept",)

    grid: int = knob(4, among=(4, 8, 16), doc="Places along one side.")
    codebook: int = knob(
        256, low=16, high=16384, grid=(64, 256), log=True, doc="Codes of every stage."
    )
    stages: int = knob(4, low=1, high=16, grid=(2, 4), doc="Tokens of a place.")
    kept: int = knob(
        16, low=1, high=16, grid=(1, 2, 3, 16),
        doc="Stages that images are decoded from; all where there are fewer.",
    )  # fmt: skip
    dropout: bool = knob(True, doc="Whether training leaves out the last stages by chance.")
    dim: int = knob(8, low=2, high=64, grid=(8,), doc="Numbers in a code.")
    decay: float = knob(
        0.9, low=0.5, high=0.999, grid=(0.9,), doc="How much of a step's average the next keeps."
    )

    def learner(self, sizes: Sizes) -> Learner:
        from vector_quantize_pytorch import ResidualVQ

        quantizer = ResidualVQ(
            dim=self.dim,
            num_quantizers=self.stages,
            codebook_size=self.codebook,
            decay=self.decay,
            commitment_weight=BETA,
            kmeans_init=True,
            threshold_ema_dead_code=dead_below(self.grid**2, self.codebook, sizes.batch),
            quantize_dropout=self.dropout,
            rotation_trick=True,
        )
        return _Stages(self.grid, self.dim, quantizer, sizes, guarded=self.codebook)

    def coder(self, learner: Learner | None, images: Tensor) -> Coder:
        assert isinstance(learner, Quantizing)
        return GridCoder(learner, self.codebook, self.stages, min(self.kept, self.stages))

    def simplified(self) -> Component:
        if self.stages == 1:
            return VQ(
                grid=self.grid, codebook=self.codebook, dim=self.dim, similarity="euclidean",
                decay=self.decay, gradient="rotated",
            )  # fmt: skip
        if self.kept >= self.stages and self.kept != self.fields["kept"].default:
            whole: Component = self.clone(override={"kept": self.fields["kept"].default})
            return whole
        return self


plugin = Residual
