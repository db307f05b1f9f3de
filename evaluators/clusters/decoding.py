"""Decoding from coarse to fine: clusters token by token, then their codes in one pass.

With as many clusters as codes it is plain decoding, and with one cluster the one pass.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor

from paretoken.evaluators.clusters.fine_pass import FinePass
from paretoken.evaluators.engine.decode import Decoding, Trace

Progress = Callable[[int, int], None]


class TwoStages:
    """coarse: plain decoding of clusters, None with one cluster. fine: None where every code is a
    cluster. length: tokens of an image. batch: images of a fine pass."""

    def __init__(
        self, coarse: Decoding | None, fine: FinePass | None, *, length: int, batch: int
    ) -> None:
        self._coarse, self._fine = coarse, fine
        self._length, self._batch = length, batch

    @property
    def capture_seconds(self) -> float:
        """What capturing both took."""
        return sum(part.capture_seconds for part in (self._coarse, self._fine) if part is not None)

    def run(
        self,
        classes: Tensor,
        first_id: int = 0,
        progress: Progress = lambda done, wanted: None,
    ) -> tuple[Tensor, Trace]:
        """Decode one image per class [n]; see `Decoding.run`. Codes [n, N] and the trace, whose
        forwards count the fine pass."""
        if self._coarse is not None:
            coarse, trace = self._coarse.run(classes, first_id, progress)
        else:
            coarse = torch.zeros(len(classes), self._length, dtype=torch.int64)
            trace = _nothing(len(classes))
        if self._fine is None:
            return coarse, trace
        begun = time.perf_counter()
        found = []
        for start in range(0, len(classes), self._batch):
            part = slice(start, start + self._batch)
            found.append(self._fine.run(coarse[part], classes[part], first_id + start))
        seconds = time.perf_counter() - begun
        if self._coarse is None:
            progress(len(classes), len(classes))
        whole = replace(
            trace, forwards=trace.forwards + 1, seconds=trace.seconds + seconds,
            capture_seconds=self.capture_seconds,
        )  # fmt: skip
        return torch.cat(found), whole


def _nothing(samples: int) -> Trace:
    """The trace of no work."""
    none = torch.zeros(samples, dtype=torch.int64)
    clock = torch.zeros(samples, dtype=torch.float64)
    return Trace(none, none.clone(), none.clone(), none.clone(), 0.0, 0.0, clock, clock, clock)
