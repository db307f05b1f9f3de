"""Domains: the data sets that a model is trained on one after the other, as tokens."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from paretoken.evaluators.models.llamagen import TransformerConfig


@dataclass(frozen=True)
class Domain:
    """One data set. tokens: int16 [n, N] for training, held_out: [m, N] for judging; classes and
    held_out_classes: int64 [n] and [m], all 0 where there are none.
    """

    name: str
    tokens: Tensor
    classes: Tensor
    held_out: Tensor
    held_out_classes: Tensor

    def to(self, device: torch.device) -> Domain:
        """The same on a device."""
        return Domain(
            self.name, self.tokens.to(device), self.classes.to(device), self.held_out.to(device),
            self.held_out_classes.to(device),
        )  # fmt: skip


@dataclass(frozen=True)
class Format:
    """What a model has to know of the data: the sizes of its vocabulary, grid and classes."""

    vocabulary: int
    height: int
    width: int
    classes: int

    def model(self, dim: int, layers: int) -> TransformerConfig:
        """A transformer for these data: heads of 32 numbers, and nothing is dropped out.

        What is drawn in training would be one more thing that a checkpoint has to remember.
        """
        return TransformerConfig(
            dim=dim, layers=layers, heads=max(1, dim // 32), vocabulary=self.vocabulary,
            height=self.height, width=self.width, classes=self.classes, dropout=0.0,
            class_dropout=0.0, multiple_of=32,
        )  # fmt: skip
