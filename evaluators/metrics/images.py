"""Images as the metrics see them: uint8 pixels, one or three channels."""

from __future__ import annotations

import torch
from torch import Tensor

from paretoken.spaces.errors import BadInput, MeasurementFailed


def check_images(images: Tensor) -> None:
    """Raise unless `images` is a filled uint8 [N, 1 or 3, H, W].

    BadInput names the shape or dtype at fault; MeasurementFailed("nan") means that the images are
    still floating and hold a pixel that is not finite.
    """
    if images.is_floating_point():
        _refuse_not_finite(images)
    if images.dtype != torch.uint8:
        raise BadInput(
            f"images must be uint8, these are {images.dtype}: turn them into pixels first."
        )
    if images.ndim != 4 or images.shape[1] not in (1, 3) or 0 in images.shape:
        raise BadInput(
            f"images must be [N, 1 or 3, H, W] and not empty, these are {list(images.shape)}: "
            "put the channels second and repeat or drop channels."
        )


def rgb(images: Tensor) -> Tensor:
    """Three channels: grey images [B, 1, H, W] repeated, colour images as they are."""
    return images.expand(-1, 3, -1, -1) if images.shape[1] == 1 else images


def _refuse_not_finite(pixels: Tensor) -> None:
    broken = int((~torch.isfinite(pixels)).sum())
    if broken:
        raise MeasurementFailed(
            "nan",
            f"{broken} of {pixels.numel()} pixel values are not finite: "
            "look at the dtype and the logits of this candidate.",
        )
