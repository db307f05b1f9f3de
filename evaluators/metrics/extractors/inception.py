"""Inception-v3 as published FID uses it, with a file of weights that the user names.

Source: Szegedy et al., "Rethinking the Inception Architecture" (arXiv:1512.00567), in
torch-fidelity's port of the TensorFlow graph; Heusel et al., "GANs trained by a two time-scale
update rule" (arXiv:1706.08500).
"""

from __future__ import annotations

import hashlib
import io
import pickle
from pathlib import Path

import torch
from torch import Tensor
from torch_fidelity import FeatureExtractorInceptionV3  # type: ignore[import-untyped]

from paretoken.evaluators.metrics.images import check_images, rgb
from paretoken.spaces.errors import BadInput, Unreadable

SIDE = FeatureExtractorInceptionV3.INPUT_IMAGE_SIZE
FILE = "weights-inception-2015-12-05-6726825d.pth"


class Inception(FeatureExtractorInceptionV3):  # type: ignore[misc]
    """uint8 [B, 1 or 3, H, W] to the 2048 pool features and 1008 unbiased logits, both fp32.

    weights: torch-fidelity's file. Its digest is part of the identity: scores from other weights
    do not compare. Raises Unreadable where the file is damaged or holds another network.
    """

    def __init__(self, weights: Path) -> None:
        try:
            content = weights.read_bytes()
            state = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
            # torch-fidelity loads with full pickle and without map_location: it gets a plain copy.
            plain = io.BytesIO()
            torch.save(state, plain)
            plain.seek(0)
            digest = hashlib.sha256(content).hexdigest()[:8]
            super().__init__(
                f"inception-{digest}",
                ["2048", "logits_unbiased"],
                feature_extractor_weights_path=plain,
            )
        except (OSError, RuntimeError, pickle.UnpicklingError, EOFError, TypeError) as error:
            raise Unreadable(
                f"inception needs torch-fidelity's {FILE}, {weights} is not it "
                f"({str(error).splitlines()[0] if str(error) else type(error).__name__}): "
                "fetch the file again."
            ) from error
        self.identity = f"inception@{SIDE}:{digest}"

    @classmethod
    def open(cls, weights: Path | None) -> Inception:
        """With the weights at that path; raises BadInput without one."""
        if weights is None:
            raise BadInput(
                f"extractor inception carries no weights and downloads none: name a file, {FILE} "
                "of torch-fidelity's release v0.2.0, or use extractor lite0."
            )
        return cls(Path(weights))

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Features [B, 2048] and logits [B, 1008]."""
        check_images(images)
        features, logits = super().forward(rgb(images))
        return features, logits


plugin = Inception
