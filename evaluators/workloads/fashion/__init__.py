"""fashion: class-conditional Fashion-MNIST, 32 x 32 pixels, 256 tokens; ships with paretoken.

LlamaGen's architecture, small (7.6M parameters), trained by `train.py`; figures in `card.md`.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any

from paretoken.spaces.errors import BadInput

_HERE = Path(str(files("paretoken.evaluators.workloads.fashion")))
TRANSFORMER, TOKENIZER = _HERE / "transformer.safetensors", _HERE / "tokenizer.safetensors"
REFERENCE, CALIBRATION = _HERE / "reference.safetensors", _HERE / "calibration.json"


class Fashion:
    """The embedded image model: nothing to download, quality measured out of the box."""

    modality = "image"

    def space_for(self, options: Mapping[str, Any]) -> str:
        return "image-decoding"

    def open(
        self,
        *,
        metrics: str | None = None,
        device: str | None = None,
        samples: int = 500,
        batch: int | None = None,
        **more: Any,
    ) -> Any:
        """samples: images for each quality measurement. batch: at which speed is measured.

        metrics: names of plug-ins, with commas, that are measured too. more: what depths learn
        about the model's layers they learn from images that it draws, lessons of them, lesson_batch
        at a time, in so many steps; sets of layers are calibrated on `calibration` of them, with so
        many trials. artefacts: the folder where that is kept; left out, one in the user's cache.
        """
        # Imported here: listing workloads and training the model need none of it.
        from paretoken.evaluators.environment import device_named
        from paretoken.evaluators.image_workload import ImageWorkload
        from paretoken.evaluators.metrics.by_sample import load_metrics
        from paretoken.evaluators.metrics.extractors import load_extractor
        from paretoken.evaluators.metrics.reference import Reference
        from paretoken.evaluators.metrics.spread import Calibration
        from paretoken.evaluators.models.checkpoint import load_tokenizer, load_transformer
        from paretoken.evaluators.shortening.image_lessons import LESSONS, ImageLessons
        from paretoken.evaluators.shortening.options import learning

        folder, sizes, _ = learning(more, LESSONS[device_named(device).type])
        if more:
            raise BadInput(
                f"workload fashion has no option {', '.join(sorted(more))}: it knows metrics, "
                "device, samples, batch, artefacts, lessons, lesson_batch, steps, calibration and "
                "trials."
            )
        chosen = device_named(device)
        return ImageWorkload(
            load_transformer(TRANSFORMER),
            load_tokenizer(TOKENIZER),
            device=chosen,
            samples=samples,
            batch=batch,
            extractor=load_extractor("lite0", device=chosen),
            reference=Reference.load(REFERENCE),
            calibration=Calibration.load(CALIBRATION),
            metrics=load_metrics(metrics, self.modality),
            lessons=ImageLessons(folder, sizes),
        )


plugin = Fashion()
