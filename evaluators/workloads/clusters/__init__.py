"""clusters: coarse-to-fine prediction of images; searches clusterings, and both of its stages.

    paretoken search clusters --study sweep --space granularity --algorithm grid
    paretoken search clusters --study real --option data=/usr/share/datasets/fashion-mnist

Codes of the bundled image tokenizer are clustered; a causal model learns the clusters and an
auxiliary one the codes in them, both together on a fixed amount of arithmetic. Images are drawn and
judged as those of `fashion`. Number 0 of a study has as many clusters as codes: plain
autoregressive prediction. What was trained is kept beside the store.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from paretoken.spaces.errors import BadInput, BadValue

_OPTIONS = (
    "data, compute (GFLOPs of training both stages), each, held_out, dim, layers, training_batch, "
    "training_seed, artefacts, device, samples and batch"
)
# By default, on a CPU and on a GPU. compute: GFLOPs. each, held_out: images of every class.
_SIZES: dict[str, dict[str, int]] = {
    "cpu": {
        "compute": 600, "each": 40, "held_out": 10, "dim": 64, "layers": 2, "training_batch": 8,
    },
    "cuda": {
        "compute": 1_200_000, "each": 1000, "held_out": 100, "dim": 256, "layers": 4,
        "training_batch": 128,
    },
}  # fmt: skip


class Clusters:
    """Clusterings of the codes of the bundled tokenizer."""

    modality = "training"
    baseline = "plain autoregression"

    def space_for(self, options: Mapping[str, Any]) -> str:
        return "clusters"

    def open(
        self,
        *,
        data: str = "drawn",
        compute: int | None = None,
        each: int | None = None,
        held_out: int | None = None,
        dim: int | None = None,
        layers: int | None = None,
        training_batch: int | None = None,
        training_seed: int = 0,
        artefacts: str | None = None,
        device: str | None = None,
        samples: int = 500,
        batch: int | None = None,
        **unknown: Any,
    ) -> Any:
        """data: drawn (images drawn from the bundled model), or a folder with Fashion-MNIST.

        compute: GFLOPs that both stages are trained with, whatever the clusters. each, held_out:
        images of every class to train on and to tell bits of. dim, layers, training_batch: of the
        first stage and of training; dim is a multiple of 32. training_seed: of starts and batches.
        artefacts: the folder where what was trained is kept; left out, one beside the store.
        samples: images for each quality measurement. batch: at which speed is measured.
        """
        if unknown:
            raise BadInput(
                f"workload clusters has no option {', '.join(sorted(unknown))}: it knows "
                f"{_OPTIONS}."
            )
        # Imported here: listing workloads needs none of it.
        import torch

        from paretoken.evaluators.cache_folder import cache_folder
        from paretoken.evaluators.clusters.stages import Sizes
        from paretoken.evaluators.clusters_workload import ClustersWorkload
        from paretoken.evaluators.environment import device_named
        from paretoken.evaluators.metrics.extractors import load_extractor
        from paretoken.evaluators.metrics.reference import Reference
        from paretoken.evaluators.metrics.spread import Calibration
        from paretoken.evaluators.models.checkpoint import load_tokenizer
        from paretoken.evaluators.training.artefacts import Artefacts
        from paretoken.evaluators.training.sizes import sized
        from paretoken.evaluators.workloads.continual.fashion_classes import (
            DrawnClasses,
            RealClasses,
        )
        from paretoken.evaluators.workloads.fashion import CALIBRATION, REFERENCE, TOKENIZER

        chosen = device_named(device)
        given = {
            "compute": compute, "each": each, "held_out": held_out, "dim": dim, "layers": layers,
            "training_batch": training_batch,
        }  # fmt: skip
        size = sized(_SIZES[chosen.type], given)
        if not isinstance(training_seed, int) or isinstance(training_seed, bool):
            raise BadValue(
                f"--option training_seed is a whole number; it cannot be {training_seed!r}."
            )
        folder = Path(artefacts).expanduser() if artefacts else cache_folder("artefacts")
        source: Any
        if data == "drawn":
            source = DrawnClasses(
                size["each"], size["held_out"], Artefacts(folder, "tokens"), chosen
            )
        elif Path(str(data)).expanduser().is_dir():
            source = RealClasses(
                Path(str(data)).expanduser(), size["each"], size["held_out"], chosen
            )
        else:
            raise BadValue(
                "--option data is drawn, or a folder with the four .gz files of Fashion-MNIST; it "
                f"cannot be {data!r}."
            )
        if chosen.type == "cuda":
            torch.set_float32_matmul_precision("highest")
        sizes = Sizes(
            dim=size["dim"], layers=size["layers"], batch=size["training_batch"],
            compute=1e9 * size["compute"],
            precision="bfloat16" if chosen.type == "cuda" else "float32", seed=training_seed,
        )  # fmt: skip
        return ClustersWorkload(
            source, load_tokenizer(TOKENIZER), sizes, samples=samples, batch=batch,
            artefacts=Artefacts(folder, "trained"), device=chosen,
            extractor=load_extractor("lite0", device=chosen),
            reference=Reference.load(REFERENCE), calibration=Calibration.load(CALIBRATION),
        )  # fmt: skip


plugin = Clusters()
