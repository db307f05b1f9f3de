"""One Hugging Face cache for each row, for models that keep more than keys and values by place.

Sliding windows and recurrent states cannot be written at a place of one's own, so each row has the
cache that the model makes for itself, and is run by itself. Rolling back is cropping, by the rule
that holds in all of transformers 5: only by a negative count, and never by zero, which in 5.0
empties the cache; layers that forget are told first that they may be asked back.
"""

from __future__ import annotations

import copy
from typing import Any

import torch
import transformers
from packaging.version import Version
from torch import Tensor
from transformers import DynamicCache

from paretoken.spaces.errors import MeasurementFailed

# 5.17 can be asked to, but the mask of a sliding window is a place short then.
ROLLS_BACK = Version(transformers.__version__) >= Version("5.18")


class CroppedCaches:
    """B caches and how many tokens each has seen. offset, states: as in `RowCache`."""

    def __init__(self, rows: int, config: Any, device: torch.device) -> None:
        self._config = config
        self.offset = torch.zeros(rows, dtype=torch.int64, device=device)
        self.states: Tensor | None = None
        self._caches = [self._fresh() for _ in range(rows)]
        self._seen = [0] * rows

    def _fresh(self) -> Any:
        cache = DynamicCache(config=self._config)
        if not ROLLS_BACK:
            raise MeasurementFailed(
                "unsupported",
                "before transformers 5.18 models with sliding windows or recurrent layers cannot "
                f"be rolled back, and this is {transformers.__version__}: upgrade with pip install "
                "-U transformers.",
            )
        cache.activate_past_recording()
        return cache

    def at(self, row: int, place: int, window: int) -> Any:
        """The cache of a row, rolled back to `place`, for a window that is fed there."""
        if place == 0:
            self._caches[row], self._seen[row] = self._fresh(), 0
        over = self._seen[row] - place
        if over < 0:
            raise MeasurementFailed(
                "unsupported",
                f"row {row} is fed at place {place}, but its cache ends at {self._seen[row]}: this "
                "model cannot skip places.",
            )
        if over > 0:
            for layer in self._caches[row].layers:
                if layer.is_initialized:  # a draft that skips layers never runs some
                    layer.crop(-over)
        self._seen[row] = place + window
        return self._caches[row]

    def take(self, rows: Tensor) -> None:
        """Let every row go on from a copy of the one named, [B]."""
        self.offset.copy_(self.offset[rows])
        self._caches = [copy.deepcopy(self._caches[row]) for row in rows.tolist()]
        self._seen = [self._seen[row] for row in rows.tolist()]
