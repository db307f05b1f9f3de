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
        **unknown: Any,
    ) -> Any:
        """samples: images for each quality measurement. batch: at which speed is measured.

        metrics: names of plug-ins, with commas, that are measured too.
        """
        # Imported here: listing workloads and training the model need none of it.
        from paretoken.evaluators.environment import device_named
        from paretoken.evaluators.image_workload import ImageWorkload
        from paretoken.evaluators.metrics.by_sample import load_metrics
        from paretoken.evaluators.metrics.extractors import load_extractor
        from paretoken.evaluators.metrics.reference import Reference
        from paretoken.evaluators.metrics.spread import Calibration
        from paretoken.evaluators.models.checkpoint import load_tokenizer, load_transformer

        if unknown:
            raise BadInput(
                f"workload fashion has no option {', '.join(sorted(unknown))}: it knows metrics, "
                "device, samples and batch."
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
        )


plugin = Fashion()
