"""LANTERN's release: arguments of `main.py generate_images`.

Plain decoding as it is. Its acceptance rule needs its own drafter, a trained EAGLE head: that of a
candidate with Jacobi drafts is written with --allow-unverified only, for neither law nor speed
would be those measured. Source: jadohu/LANTERN, entrypoints/generate_images.py (Jang et al., ICLR
2025, arXiv:2410.03355; LANTERN++, arXiv:2502.06352).
"""

from __future__ import annotations

from typing import Any

from paretoken.search.exporters import Documents, Engine, Exporter
from paretoken.search.exporting import image
from paretoken.search.exporting.asked import Asked
from paretoken.search.exporting.refusal import Code

_FILE = "generate_images.args"
_PRECISIONS = {"float32": "fp32", "bfloat16": "bf16"}


class Lantern(Exporter):
    engine = Engine(
        "LANTERN", "at 3a56e45", "entrypoints/generate_images.py", "lantern-3a56e45.json", "image"
    )

    def express(self, asked: Asked) -> Documents:
        name = self.engine.name
        drafter = asked.among("drafter", ("none", "jacobi"), name)
        found: dict[str, Any] = {
            "--model_type": "base",
            "--temperature": asked.knob("sampling.temperature"),
            "--top_k": asked.knob("sampling.top_k"),
            "--top_p": asked.knob("sampling.top_p"),
            "--cfg": asked.knob("sampling.cfg"),
            "--precision": _PRECISIONS[asked.dtype],
        }
        if drafter == "jacobi":
            found |= {"--model_type": "eagle", **self._rule(asked)}
            asked.doubt(
                "drafter",
                "LANTERN drafts with a trained EAGLE head, on which its law and its speed depend",
            )
        if asked.greedy:
            asked.note(
                Code.UNVERIFIED_SEMANTICS, "sampling.temperature",
                "temperature 0 damages images there (its issue 6)",
            )  # fmt: skip
        image.check_everywhere(asked, name)
        image.check_top_k(asked, name)
        image.note_models(asked, "generate_images")
        return {_FILE: found}

    def _rule(self, asked: Asked) -> dict[str, Any]:
        verifier = asked.part("verifier")
        if verifier == "exact":
            return {}
        if verifier != "latent_neighbour":
            asked.refuse(
                Code.LOSSY_MISMATCH, "verifier", "LANTERN counts a draft's nearest codes in",
                "take a candidate with verifier == \"latent_neighbour\" or \"exact\"",
            )  # fmt: skip
            return {}
        image.check_residual(asked, "LANTERN")
        asked.note(
            Code.RUNTIME_ONLY, "verifier.space",
            "LANTERN reads its table of nearest codes from a file: make it in this space",
        )  # fmt: skip
        # Up to 1 the bound is a mass, above it a multiple of the draft's own; both as here.
        return {
            "--lantern": True,
            "--lantern_k": asked.knob("verifier.k"),
            "--lantern_delta": asked.knob("verifier.bound"),
        }

    def use(self, asked: Asked, documents: Documents) -> str:
        return f"python main.py generate_images $(cat FOLDER/{_FILE}) MODEL_ARGUMENTS"


plugin = Lantern()
