"""Contact sheet: the first images of a measurement, small enough to keep in the store."""

from __future__ import annotations

import base64
import io

import torch
from PIL import Image
from torch import Tensor

_ROWS, _COLUMNS = 4, 10


def contact_sheet(images: Tensor) -> str:
    """A PNG, base64, of the first images: uint8 [n, 1 or 3, H, W], filled row by row."""
    shown = images[: _ROWS * _COLUMNS]
    columns = min(_COLUMNS, len(shown))
    shown = shown[: len(shown) // columns * columns]
    grid = torch.unflatten(shown, 0, (-1, columns))
    tiled = grid.permute(0, 3, 1, 4, 2)  # rows, H, columns, W, C
    page = tiled.reshape(-1, columns * shown.shape[-1], shown.shape[1]).squeeze(-1)
    file = io.BytesIO()
    Image.fromarray(page.numpy()).save(file, "PNG", optimize=True)
    return base64.b64encode(file.getvalue()).decode()
