"""Features: one pass of the extractor over the images serves every metric."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from paretoken.evaluators.metrics.extractors import Extractor
from paretoken.evaluators.metrics.images import check_images
from paretoken.spaces.errors import BadInput, MeasurementFailed


@dataclass(frozen=True, eq=False)
class Features:
    """What an extractor saw in N images.

    pool: fp32 [N, D]. logits: fp32 [N, C]. Both on the extractor's device. extractor: its identity.
    Raises MeasurementFailed("nan") where a value is not finite.
    """

    pool: Tensor
    logits: Tensor
    extractor: str

    def __post_init__(self) -> None:
        for name, values in (("features", self.pool), ("logits", self.logits)):
            if not bool(torch.isfinite(values).all()):
                raise MeasurementFailed(
                    "nan",
                    f"the {name} of {self.extractor} are not all finite: "
                    "look at the images of this candidate.",
                )

    def __len__(self) -> int:
        return len(self.pool)

    def split(self, size: int) -> list[Features]:
        """Disjoint sets of `size` consecutive images each; a rest that fills no set is left out."""
        if not 0 < size <= len(self):
            raise BadInput(f"a set of {size} images cannot be cut from {len(self)}: draw more.")
        starts = range(0, len(self) - size + 1, size)
        return [
            Features(self.pool[i : i + size], self.logits[i : i + size], self.extractor)
            for i in starts
        ]


def extract(
    images: Tensor,
    extractor: Extractor,
    *,
    batch: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Features:
    """The features of all images, computed in full fp32 on the extractor's device.

    images: uint8 [N, 1 or 3, H, W] on any device. batch: images at once; by default 32 on a CPU,
    where more do not fit its caches, and 250 elsewhere. progress: called after each batch with the
    number of images done and N. Raises BadInput or MeasurementFailed("nan").
    """
    check_images(images)
    device = next(iter(extractor.parameters())).device
    batch = batch or (32 if device.type == "cpu" else 250)
    pools, logits = [], []
    with torch.no_grad(), torch.autocast(device.type, enabled=False), _full_precision():
        for start in range(0, len(images), batch):
            pool, logit = extractor(images[start : start + batch].to(device))
            pools.append(pool.float())
            logits.append(logit.float())
            if progress is not None:
                progress(min(start + batch, len(images)), len(images))
    return Features(torch.cat(pools), torch.cat(logits), extractor.identity)


@contextmanager
def _full_precision() -> Iterator[None]:
    """No TF32 inside: torch rounds convolutions on CUDA to 10 bits of mantissa by default."""
    cudnn: Any = torch.backends.cudnn  # its typing knows only the older, global switch
    switches = (cudnn.conv, torch.backends.cuda.matmul)
    before = [switch.fp32_precision for switch in switches]
    try:
        for switch in switches:
            switch.fp32_precision = "ieee"
        yield
    finally:
        for switch, precision in zip(switches, before, strict=True):
            switch.fp32_precision = precision
