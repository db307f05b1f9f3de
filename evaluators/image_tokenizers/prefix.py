"""Prefix: the coder of registers, which decodes from as many of the first tokens as are kept."""

from __future__ import annotations

import math
from abc import abstractmethod

import torch
from torch import Tensor

from paretoken.evaluators.image_tokenizers.coder import Coder, Decoded
from paretoken.evaluators.image_tokenizers.layout import Layout
from paretoken.evaluators.image_tokenizers.registers import RegisterLearner
from paretoken.evaluators.models.vq import to_uint8
from paretoken.evaluators.workloads.fashion.data import pixels

AT_ONCE = 256


class PrefixCoder(Coder):
    """kept: tokens that images are decoded from."""

    def __init__(self, learner: RegisterLearner, levels: list[int], kept: int) -> None:
        self.learner = learner.eval()
        self.layout = Layout.shared(math.prod(levels), 1, learner.registers)
        self.kept = kept

    @torch.inference_mode()
    def encode(self, images: Tensor) -> Tensor:
        return torch.cat(
            [
                self.learner.rounded(self.learner.vectors(pixels(part)))[1]
                for part in torch.split(images, AT_ONCE)
            ]
        )

    @torch.inference_mode()
    def decode(self, ids: Tensor, seed: int) -> Decoded:
        read = ids[:, : self.kept]
        found = [
            to_uint8(self.pictures(self.learner.of_tokens(part), first, seed))
            for first, part in zip(
                range(0, len(read), AT_ONCE), torch.split(read, AT_ONCE), strict=True
            )
        ]
        return Decoded(torch.cat(found), torch.zeros(len(ids), dtype=torch.bool))

    @abstractmethod
    def pictures(self, codes: Tensor, first: int, seed: int) -> Tensor:
        """Images [B, 1, 32, 32], about [-1, 1], of codes [B, kept, numbers]; the first of them is
        number `first` of all, for what is drawn."""
