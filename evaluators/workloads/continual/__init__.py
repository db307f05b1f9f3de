"""continual: pre-training on one data set after the other; searches learning-rate schedules.

    paretoken search continual --study rates
    paretoken search continual --study rates --space schedules-compared --algorithm grid
    paretoken search continual --study words --option data=text

A small image model learns five classes of clothes, then the other five (or a model of bytes learns
English, then Python). Number 0 of a study is repeated cosine. Trained models are kept under what
determines them, beside the store, and nothing that was trained is trained again.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from paretoken.spaces.errors import BadInput, BadValue

_OPTIONS = (
    "data, steps, each, held_out, dim, layers, batch, artefacts, device and samples (runs, each "
    "with its own seed)"
)
# By default, on a CPU and on a GPU.
_SIZES: dict[str, dict[str, int]] = {
    "cpu": {"steps": 200, "each": 40, "held_out": 10, "dim": 64, "layers": 2, "batch": 8},
    "cuda": {"steps": 1500, "each": 1000, "held_out": 100, "dim": 256, "layers": 4, "batch": 128},
}
_MOST_TEXT = 300  # of `each`: there is no more English
_SPLIT = 5  # classes of each data set; a text has as many pieces as these have images


class Continual:
    """Image classes, or two texts."""

    modality = "training"
    baseline = "repeated cosine"

    def space_for(self, options: Mapping[str, Any]) -> str:
        return "schedules"

    def open(
        self,
        *,
        data: str = "drawn",
        steps: int | None = None,
        each: int | None = None,
        held_out: int | None = None,
        dim: int | None = None,
        layers: int | None = None,
        batch: int | None = None,
        artefacts: str | None = None,
        device: str | None = None,
        samples: int = 3,
        **unknown: Any,
    ) -> Any:
        """data: drawn (images drawn from the bundled model), text, or a folder with Fashion-MNIST.

        steps: on each data set. each, held_out: images of every class to train on and to judge by;
        of a text, fifths of its pieces of 256 bytes. dim, layers, batch: of the model and its
        training; dim is a multiple of 32. artefacts: the folder where trained models are kept;
        left out, one beside the store. samples: runs that a schedule is judged by.
        """
        # Imported here: listing workloads needs none of it.
        import torch

        from paretoken.evaluators.cache_folder import cache_folder
        from paretoken.evaluators.continual_workload import ContinualWorkload
        from paretoken.evaluators.environment import device_named
        from paretoken.evaluators.training.artefacts import Artefacts
        from paretoken.evaluators.training.sizes import sized
        from paretoken.evaluators.training.trainer import Recipe
        from paretoken.evaluators.workloads.continual.fashion_classes import (
            DrawnClasses,
            RealClasses,
        )
        from paretoken.evaluators.workloads.continual.two_texts import TwoTexts

        if unknown:
            raise BadInput(
                f"workload continual has no option {', '.join(sorted(unknown))}: it knows "
                f"{_OPTIONS}."
            )
        chosen = device_named(device)
        given = {
            "steps": steps, "each": each, "held_out": held_out, "dim": dim, "layers": layers,
            "batch": batch,
        }  # fmt: skip
        size = sized(_usual(chosen.type, data), given)
        folder = Path(artefacts).expanduser() if artefacts else cache_folder("artefacts")
        source: Any
        if data == "drawn":
            source = DrawnClasses(
                size["each"], size["held_out"], Artefacts(folder, "tokens"), chosen
            )
        elif data == "text":
            source = TwoTexts(_SPLIT * size["each"], _SPLIT * size["held_out"])
        elif Path(str(data)).expanduser().is_dir():
            source = RealClasses(
                Path(str(data)).expanduser(), size["each"], size["held_out"], chosen
            )
        else:
            raise BadValue(
                "--option data is drawn, text, or a folder with the four .gz files of "
                f"Fashion-MNIST; it cannot be {data!r}."
            )
        recipe = Recipe(
            source.format.model(size["dim"], size["layers"]), size["batch"],
            "bfloat16" if chosen.type == "cuda" else "float32",
        )  # fmt: skip
        if chosen.type == "cuda":
            torch.set_float32_matmul_precision("highest")
        return ContinualWorkload(
            source, recipe, stages=(size["steps"], size["steps"]), samples=samples,
            artefacts=Artefacts(folder, "trained"), device=chosen,
        )  # fmt: skip


def _usual(device: str, data: str) -> dict[str, int]:
    usual = dict(_SIZES[device])
    if data == "text":
        usual["each"] = min(usual["each"], _MOST_TEXT)
    return usual


plugin = Continual()
