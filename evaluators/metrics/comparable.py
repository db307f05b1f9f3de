"""Which scores compare: those of one metric, extractor, number of images and reference."""

from __future__ import annotations

from dataclasses import dataclass

from paretoken.spaces.records import Quantity


@dataclass(frozen=True)
class MetricKey:
    """What a score is a score of.

    n: images in one sample set; FID carries a bias of about 1/n. reference: digest of the reference
    (of the original images where there is no reference). `str(key)` is `Quantity.comparable`.
    """

    metric: str
    extractor: str
    n: int
    reference: str

    def __str__(self) -> str:
        return f"{self.metric}|{self.extractor}|n={self.n}|{self.reference}"

    @classmethod
    def of(cls, quantity: Quantity) -> MetricKey:
        """The key of a quantity made by `quality` or `psnr`."""
        detail = quantity.detail
        return cls(quantity.name, detail["extractor"], detail["n"], detail["reference"])
