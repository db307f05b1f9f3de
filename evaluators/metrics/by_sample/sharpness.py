"""Sharpness: the variance of an image's Laplacian, in squared grey levels; low where it is blurred.

Grey is the mean of the channels; the Laplacian is of four neighbours, inside the image only.
Relaxed acceptance tends to smooth images before FID sees it.
Source: Pech-Pacheco et al., "Diatom autofocusing in brightfield microscopy" (ICPR 2000), LAP4.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from paretoken.evaluators.metrics.by_sample import ImageMetric
from paretoken.evaluators.metrics.images import check_images
from paretoken.spaces.objectives import Objective


class Sharpness(ImageMetric):
    """How much an image changes from pixel to pixel."""

    objective = Objective("sharpness", "grey levels^2", True, "variance of the Laplacian")

    def values(self, images: Tensor) -> Sequence[float]:
        check_images(images)
        grey = images.double().mean(1)
        beside = grey[:, 1:-1, :-2] + grey[:, 1:-1, 2:] + grey[:, :-2, 1:-1] + grey[:, 2:, 1:-1]
        laplacian = beside - 4 * grey[:, 1:-1, 1:-1]
        found: list[float] = laplacian.flatten(1).var(-1, correction=0).tolist()
        return found


plugin = Sharpness()
