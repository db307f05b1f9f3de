"""Judging: what reconstructions and generated images are worth, in the features of an extractor.

Reconstructions are compared with their own originals: how far each lies from its own (paired
distance, PSNR), and how far the two sets are apart (rFID), which forgives what is made up well.
Few images bias FID upwards; equal numbers of the same images compare.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from paretoken.evaluators.image_tokenizers.pictures import Pictures
from paretoken.evaluators.metrics.extractors import Extractor
from paretoken.evaluators.metrics.features import Features, extract
from paretoken.evaluators.metrics.frechet import frechet_distance
from paretoken.evaluators.metrics.psnr import psnr
from paretoken.evaluators.metrics.reference import Reference

_PARTS = 4  # that a set is cut into, to see how much its FID scatters
_REFERENCE = 10_000  # images at most that generated ones are compared with


@dataclass(frozen=True)
class Judged:
    """Numbers of one set of images by name, and one standard deviation of each."""

    values: dict[str, float]
    spreads: dict[str, float]


class Judge:
    """pictures: whose held-out images are reconstructed, and whose others are generated like."""

    def __init__(self, pictures: Pictures, extractor: Extractor) -> None:
        self._pictures, self._extractor = pictures, extractor

    @cached_property
    def _held_out(self) -> Features:
        return extract(self._pictures.held_out, self._extractor)

    @cached_property
    def _references(self) -> list[Reference]:
        """Of all originals, and of each part."""
        return [Reference.of_features(part) for part in _cut(self._held_out)]

    @cached_property
    def _train(self) -> Reference:
        return Reference.of(self._pictures.train[:_REFERENCE], self._extractor)

    def reconstructed(self, images: Tensor) -> Judged:
        """rfid, paired_distance and psnr of reconstructions uint8 [n, 1, 32, 32] of all held-out
        images; raises MeasurementFailed where features are no numbers."""
        seen = extract(images, self._extractor)
        apart = (seen.pool - self._held_out.pool).double().square().sum(1)
        pixels = psnr(self._pictures.held_out, images)
        found = [
            frechet_distance(part.pool, reference)
            for part, reference in zip(_cut(seen), self._references, strict=True)
        ]
        values = {"rfid": found[0], "paired_distance": float(apart.mean()), "psnr": pixels.value}
        spreads = {
            "rfid": _scatter(found[1:]),
            "paired_distance": float(apart.std()) / math.sqrt(len(apart)),
            "psnr": pixels.spread,
        }
        return Judged(values, spreads)

    def generated(self, images: Tensor) -> Judged:
        """gfid of generated images uint8 [n, 1, 32, 32] against those that were trained on."""
        found = [
            frechet_distance(part.pool, self._train)
            for part in _cut(extract(images, self._extractor))
        ]
        return Judged({"gfid": found[0]}, {"gfid": _scatter(found[1:])})


def _cut(features: Features) -> list[Features]:
    """The whole, and its parts."""
    size = len(features) // _PARTS
    return [features, *features.split(size)[:_PARTS]]


def _scatter(parts: list[float]) -> float:
    """The standard deviation of a FID of the whole, from those of its parts."""
    return float(torch.tensor(parts, dtype=torch.float64).std()) / math.sqrt(len(parts))
