"""SJD's release for LlamaGen: arguments of its script, and constants to be edited into it.

The script has no arguments for the loop: `constants.json` says what `get_jacobi_param_dict` is to
return. Source: tyshiwo1/Accelerating-T2I-AR-with-SJD, test_llamagen.py (Teng et al., ICLR 2025,
arXiv:2410.01699).
"""

from __future__ import annotations

from paretoken.search.exporters import Documents, Engine, Exporter
from paretoken.search.exporting import image
from paretoken.search.exporting.asked import Asked
from paretoken.search.exporting.refusal import Code

_ARGUMENTS, _CONSTANTS = "test_llamagen.args", "constants.json"


class Sjd(Exporter):
    engine = Engine("SJD", "at b389cfb", "test_llamagen.py", "sjd-b389cfb.json", "image")

    def express(self, asked: Asked) -> Documents:
        name = self.engine.name
        constants = image.jacobi(asked, name)
        if asked.part("drafter") == "jacobi":
            verifier = asked.part("verifier")
            if verifier != "exact":
                elsewhere = {"grouped": "gsd", "latent_neighbour": "lantern"}.get(verifier)
                way = f"export to {elsewhere}, or " if elsewhere else ""
                asked.refuse(
                    Code.LOSSY_MISMATCH, "verifier", f"{name} accepts exactly",
                    f"{way}take a candidate with verifier == \"exact\"",
                )  # fmt: skip
            asked.note(
                Code.RUNTIME_ONLY, "drafter.window",
                "jacobi_loop_interval_r there is tokens of an image - max_num_new_tokens - 2",
            )  # fmt: skip
        image.check_everywhere(asked, name)
        image.check_top_k(asked, name)
        image.note_models(asked, "test_llamagen.py")
        return {
            _CONSTANTS: {**constants, "guidance_scale": asked.knob("sampling.cfg")},
            _ARGUMENTS: {
                "--cfg_scale": asked.knob("sampling.cfg"),
                "--temperature": asked.knob("sampling.temperature"),
                "--top_p": asked.knob("sampling.top_p"),
                "--precision": image.PRECISIONS[asked.dtype],
            },
        }

    def use(self, asked: Asked, documents: Documents) -> str:
        return (
            f"edit get_jacobi_param_dict in test_llamagen.py to FOLDER/{_CONSTANTS}, then: "
            f"python test_llamagen.py $(cat FOLDER/{_ARGUMENTS}) MODEL_ARGUMENTS"
        )


plugin = Sjd()
