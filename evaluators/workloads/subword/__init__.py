"""subword: tokenizers of text, trained and judged; searches family, vocabulary and what is a word.

    paretoken search subword --study cuts
    paretoken search subword --study mine --option corpus=mine.txt

Tokenizers are trained on nine tenths of a text and judged on the rest: how many tokens they make of
a byte, how many bits a byte a small model needs that is trained on their tokens with a fixed amount
of arithmetic, and how fast they encode. Number 0 of a study is byte-level BPE of 1,024 entries.
What was trained is kept beside the store. Install with `pip install 'paretoken[subword]'`.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from paretoken.spaces.errors import BadInput

_OPTIONS = (
    "corpus, compute (GFLOPs of training a model), context, dim, layers, batch, artefacts, device "
    "and samples (models, each with its own seed)"
)
# By default, on a CPU and on a GPU. compute: GFLOPs.
_SIZES: dict[str, dict[str, int]] = {
    "cpu": {"compute": 200, "context": 64, "dim": 64, "layers": 2, "batch": 4},
    "cuda": {"compute": 30000, "context": 256, "dim": 256, "layers": 4, "batch": 8},
}


class SubwordTokenizers:
    """Tokenizers of one text."""

    modality = "training"
    baseline = "byte-level BPE of 1,024"

    def space_for(self, options: Mapping[str, Any]) -> str:
        return "subword"

    def open(
        self,
        *,
        corpus: str | None = None,
        compute: int | None = None,
        context: int | None = None,
        dim: int | None = None,
        layers: int | None = None,
        batch: int | None = None,
        artefacts: str | None = None,
        device: str | None = None,
        samples: int = 2,
        **unknown: Any,
    ) -> Any:
        """corpus: a text file; left out, Python's language reference. compute: GFLOPs that a model
        is trained with, whatever the tokenizer. context: tokens that it sees at once. dim, layers,
        batch: of the model and its training; dim is a multiple of 32. artefacts: the folder where
        what was trained is kept; left out, one beside the store. samples: models by which a
        tokenizer is judged.
        """
        if unknown:
            raise BadInput(
                f"workload subword has no option {', '.join(sorted(unknown))}: it knows {_OPTIONS}."
            )
        missing = [name for name in ("tokenizers", "sentencepiece") if find_spec(name) is None]
        if missing:
            raise BadInput(
                f"workload subword needs {' and '.join(missing)}, not installed here: pip install "
                "'paretoken[subword]'."
            )
        # Imported here: listing workloads needs none of it.
        import torch

        from paretoken.evaluators.cache_folder import cache_folder
        from paretoken.evaluators.environment import device_named
        from paretoken.evaluators.subword_workload import SubwordWorkload
        from paretoken.evaluators.subwords.corpus import english, from_file
        from paretoken.evaluators.subwords.language import Sizes
        from paretoken.evaluators.training.artefacts import Artefacts
        from paretoken.evaluators.training.sizes import sized

        chosen = device_named(device)
        given = {
            "compute": compute, "context": context, "dim": dim, "layers": layers, "batch": batch
        }  # fmt: skip
        size = sized(_SIZES[chosen.type], given)
        folder = Path(artefacts).expanduser() if artefacts else cache_folder("artefacts")
        text = english() if corpus is None else from_file(Path(str(corpus)).expanduser())
        if chosen.type == "cuda":
            torch.set_float32_matmul_precision("highest")
        sizes = Sizes(
            dim=size["dim"], layers=size["layers"], context=size["context"], batch=size["batch"],
            budget=1e9 * size["compute"],
            precision="bfloat16" if chosen.type == "cuda" else "float32",
        )  # fmt: skip
        return SubwordWorkload(
            text, sizes, samples=samples, artefacts=Artefacts(folder, "tokenizers"),
            models=Artefacts(folder, "trained"), device=chosen,
        )  # fmt: skip


plugin = SubwordTokenizers()
