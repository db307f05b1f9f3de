"""Feature extractors: one file an extractor, found by being there.

A module names its class in `plugin`. The class is a torch-fidelity FeatureExtractorBase, so
torch-fidelity's own entry points take it too, and keeps the protocol below.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Protocol, cast

import torch
from torch import Tensor

from paretoken.spaces.plugins import KINDS


class Extractor(Protocol):
    """Images to features.

    identity: network, input size and weights in one short string such as `lite0@64:57934424`;
    it goes into every record, and scores of different identities never compare.
    """

    identity: str

    def __call__(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """uint8 images [B, 1 or 3, H, W] to fp32 features [B, D] and class logits [B, C]."""
        ...

    def parameters(self) -> Iterator[Tensor]:
        """The weights; the device of the first one is where the images go."""
        ...


def load_extractor(
    name: str = "lite0", *, weights: Path | None = None, device: torch.device | str = "cpu"
) -> Extractor:
    """The extractor of that name on `device`, in evaluation mode; nothing is ever downloaded.

    weights: a file of weights where the extractor has none of its own. Raises UnknownName, and
    whatever the extractor says about its weights (BadInput, Unreadable).
    """
    extractor = KINDS["extractors"].load(name).open(weights)
    return cast(Extractor, extractor.to(device).eval())
