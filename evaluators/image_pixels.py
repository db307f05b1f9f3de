"""From tokens to pictures, and which classes are drawn: alike for everything that draws images."""

from __future__ import annotations

import torch
from torch import Tensor

from paretoken.evaluators.models.vq import Tokenizer, to_uint8
from paretoken.spaces.errors import MeasurementFailed

# Images that are decoded side by side at most, as tokens and to pixels.
MOST_ROWS = {"cpu": 128, "cuda": 1024}


@torch.inference_mode()
def in_pixels(
    tokenizer: Tokenizer, tokens: Tensor, height: int, width: int, device: torch.device
) -> Tensor:
    """uint8 images [n, C, H, W] on the CPU, of tokens [n, height * width].

    Raises MeasurementFailed("nan") where a pixel is no number.
    """
    parts = []
    for part in torch.split(tokens, MOST_ROWS[device.type]):
        images = tokenizer.decode(part.to(device), height, width)
        if not bool(images.isfinite().all()):
            raise MeasurementFailed("nan", "the tokenizer decoded to pixels that are no numbers")
        parts.append(to_uint8(images).cpu())
    return torch.cat(parts)


def in_turn(samples: int, known: int) -> Tensor:
    """The classes [n] of samples: all in turn; evenly spaced ones where there are more of them."""
    order = torch.arange(samples)
    return order * known // samples if samples < known else order % known
