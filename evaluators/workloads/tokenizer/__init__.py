"""tokenizer: tokenizers of images, trained and judged; searches family, grid, codebook, decoding.

    paretoken search tokenizer --study pictures
    paretoken search tokenizer --study real --option data=/usr/share/datasets/fashion-mnist

Tokenizers are trained on small grey images and judged on others: how many calls of networks, one
after the other, make an image, how many bits its tokens take, and how much of it is lost. With
--option generate=500 (the default on a GPU is 2,000, on a CPU none) a model of fixed arithmetic
learns their tokens and draws images. Number 0 of a study is VQ of 512 codes on 8 x 8 places. What
was trained is kept beside the store. Install with `pip install 'paretoken[tokenizers]'`.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from paretoken.spaces.errors import BadInput, BadValue

_OPTIONS = (
    "data, train, images, steps, width, blocks, batch, generate, compute (GFLOPs of training a "
    "model), dim, layers, model_batch, artefacts, device and samples (trainings, each with its own "
    "seed)"
)
# By default, on a CPU and on a GPU. compute: GFLOPs.
_SIZES: dict[str, dict[str, int]] = {
    "cpu": {
        "train": 400, "images": 100, "steps": 150, "width": 32, "blocks": 1, "batch": 16,
        "compute": 400, "dim": 64, "layers": 2, "model_batch": 8,
    },
    "cuda": {
        "train": 60_000, "images": 2_000, "steps": 2_000, "width": 128, "blocks": 2, "batch": 256,
        "compute": 1_500_000, "dim": 256, "layers": 4, "model_batch": 256,
    },
}  # fmt: skip
_DRAWN = {"train": 5_000, "images": 1_000}  # on a GPU, of images that have to be drawn first
_GENERATED = {"cpu": 0, "cuda": 2_000}
_FEWEST = 40  # images judged: FID is looked at in quarters


class ImageTokenizers:
    """Tokenizers of 32 x 32 grey images."""

    modality = "training"
    baseline = "VQ of 512, 8 x 8"

    def space_for(self, options: Mapping[str, Any]) -> str:
        return "tokenizer"

    def open(
        self,
        *,
        data: str = "drawn",
        train: int | None = None,
        images: int | None = None,
        steps: int | None = None,
        width: int | None = None,
        blocks: int | None = None,
        batch: int | None = None,
        generate: int | None = None,
        compute: int | None = None,
        dim: int | None = None,
        layers: int | None = None,
        model_batch: int | None = None,
        artefacts: str | None = None,
        device: str | None = None,
        samples: int = 1,
        **unknown: Any,
    ) -> Any:
        """data: drawn (images drawn by the bundled model), or a folder with Fashion-MNIST. train,
        images: how many are trained on, and judged by. steps, batch: of training a tokenizer;
        width, blocks: of its networks. generate: images that a model draws, 0 for no model.
        compute: GFLOPs that the model is trained with, whatever the tokenizer; dim, layers,
        model_batch: of it. artefacts: the folder where what was trained is kept; left out, one
        beside the store. samples: trainings by which a tokenizer is judged.
        """
        if unknown:
            raise BadInput(
                f"workload tokenizer has no option {', '.join(sorted(unknown))}: it knows "
                f"{_OPTIONS}."
            )
        if find_spec("vector_quantize_pytorch") is None:
            raise BadInput(
                "workload tokenizer needs vector-quantize-pytorch, not installed here: pip install "
                "'paretoken[tokenizers]'."
            )
        # Imported here: listing workloads needs none of it.
        import torch

        from paretoken.evaluators.cache_folder import cache_folder
        from paretoken.evaluators.environment import device_named
        from paretoken.evaluators.image_tokenizers import pictures
        from paretoken.evaluators.image_tokenizers.autoregressive import Budget
        from paretoken.evaluators.image_tokenizers.family import Sizes
        from paretoken.evaluators.metrics.extractors import load_extractor
        from paretoken.evaluators.tokenizer_workload import TokenizerWorkload
        from paretoken.evaluators.training.artefacts import Artefacts
        from paretoken.evaluators.training.sizes import sized

        chosen = device_named(device)
        usual = dict(_SIZES[chosen.type])
        if data == "drawn" and chosen.type == "cuda":
            usual |= _DRAWN
        size = sized(
            usual,
            {
                "train": train, "images": images, "steps": steps, "width": width, "blocks": blocks,
                "batch": batch, "compute": compute, "dim": dim, "layers": layers,
                "model_batch": model_batch,
            },
        )  # fmt: skip
        wanted = _GENERATED[chosen.type] if generate is None else generate
        _check(size, wanted)
        folder = Path(artefacts).expanduser() if artefacts else cache_folder("artefacts")
        if data == "drawn":
            found = pictures.drawn(size["train"], size["images"], folder, chosen, _quiet)
        elif Path(str(data)).expanduser().is_dir():
            found = pictures.real(Path(str(data)).expanduser(), size["train"], size["images"])
        else:
            raise BadValue(
                "--option data is drawn, or a folder with the four .gz files of Fashion-MNIST; it "
                f"cannot be {data!r}."
            )
        if chosen.type == "cuda":
            torch.set_float32_matmul_precision("highest")
        budget = Budget(
            dim=size["dim"], layers=size["layers"], batch=size["model_batch"],
            operations=1e9 * size["compute"],
            precision="bfloat16" if chosen.type == "cuda" else "float32",
        )  # fmt: skip
        return TokenizerWorkload(
            found, Sizes(size["width"], size["blocks"], size["batch"]), budget,
            steps=size["steps"], generate=wanted, samples=samples,
            extractor=load_extractor("lite0", device=chosen),
            artefacts=Artefacts(folder, "image_tokenizers"), models=Artefacts(folder, "trained"),
            device=chosen,
        )  # fmt: skip


def _check(size: Mapping[str, int], generate: Any) -> None:
    """Raise BadValue for what these networks and metrics cannot be."""
    if not isinstance(generate, int) or isinstance(generate, bool) or generate < 0:
        raise BadValue(f"--option generate is a whole number from 0 on; it cannot be {generate!r}.")
    if 0 < generate < _FEWEST or size["images"] < _FEWEST:
        raise BadValue(
            f"FID is looked at in quarters, so --option images and generate are {_FEWEST} or more; "
            f"they cannot be {size['images']} and {generate} (generate may be 0)."
        )
    if size["width"] % 8 or (size["width"] > 32 and size["width"] % 32):
        raise BadValue(
            "--option width is 8, 16, 24, 32 or a multiple of 32 (groups of channels, heads of "
            f"attention); it cannot be {size['width']}."
        )


def _quiet(phase: str, share: float) -> None:
    """Opening a workload is not reported."""


plugin = ImageTokenizers()
