"""PSNR of reconstructions: the mean of each image's own, on uint8 pixels."""

from __future__ import annotations

import math

import torch
import xxhash
from torch import Tensor

from paretoken.evaluators.metrics.comparable import MetricKey
from paretoken.evaluators.metrics.images import check_images
from paretoken.spaces.errors import BadInput
from paretoken.spaces.objectives import Objective
from paretoken.spaces.records import Quantity

OBJECTIVE = Objective("psnr", "dB", True, "mean peak signal-to-noise ratio of reconstructions")


def psnr(originals: Tensor, reconstructions: Tensor) -> Quantity:
    """Mean over N >= 2 images of 10 log10(255^2 / MSE), with its standard error as spread.

    Both uint8 [N, 1 or 3, H, W]. Not the PSNR of the mean MSE, which is lower. An exact image,
    whose PSNR has no bound, counts as one with a single value off by one level: an infinity would
    swallow the mean of all others. Raises BadInput where shapes differ.
    """
    check_images(originals)
    check_images(reconstructions)
    if originals.shape != reconstructions.shape or len(originals) < 2:
        raise BadInput(
            "psnr needs at least 2 reconstructions of the originals' shape, got "
            f"{list(reconstructions.shape)} for {list(originals.shape)}: pair them first."
        )
    n = len(originals)
    difference = originals.double() - reconstructions.to(originals.device).double()
    squares = difference.flatten(1).square().sum(dim=1).clamp(min=1.0)  # [N], in levels squared
    decibels = 10.0 * torch.log10(255.0**2 * originals[0].numel() / squares)
    pixels = originals.cpu().contiguous().numpy()
    reference = xxhash.xxh3_128(f"{pixels.shape}|".encode() + pixels.tobytes()).hexdigest()
    return Quantity(
        name=OBJECTIVE.name,
        value=float(decibels.mean()),
        spread=float(decibels.std()) / math.sqrt(n),
        samples=n,
        unit=OBJECTIVE.unit,
        higher=OBJECTIVE.higher,
        comparable=str(MetricKey(OBJECTIVE.name, "uint8", n, reference)),
        detail={
            "n": n,
            "sets": 1,
            "extractor": "uint8",
            "reference": reference,
            "spread_from": f"std over {n} images / sqrt({n})",
        },
    )
