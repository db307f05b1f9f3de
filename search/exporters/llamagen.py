"""LlamaGen: arguments of its class-conditional sampling script, which decodes token by token.

Source: FoundationVision/LlamaGen, autoregressive/sample/sample_c2i.py.
"""

from __future__ import annotations

from paretoken.search.exporters import Documents, Engine, Exporter
from paretoken.search.exporting import image
from paretoken.search.exporting.asked import Asked
from paretoken.search.exporting.refusal import Code

_FILE = "sample_c2i.args"
_COLDEST = 1e-5  # what the script takes for any lower temperature


class LlamaGen(Exporter):
    engine = Engine(
        "LlamaGen", "at ce98ec4", "autoregressive/sample/sample_c2i.py", "llamagen-ce98ec4.json",
        "image",
    )  # fmt: skip

    def express(self, asked: Asked) -> Documents:
        name = self.engine.name
        image.check_model(asked, name)
        if asked.part("drafter") != "none":
            asked.refuse(
                Code.NOT_EXPRESSIBLE, "drafter", f"{name} decodes token by token",
                "take plain decoding, or export to sjd or gsd",
            )  # fmt: skip
        image.note_models(asked, "sample_c2i.py")
        if asked.greedy:
            asked.note(
                Code.UNVERIFIED_SEMANTICS, "sampling.temperature",
                f"{name} divides by {_COLDEST} at least, which is greedy but for near-ties",
            )  # fmt: skip
        return {
            _FILE: {
                "--cfg-scale": asked.knob("sampling.cfg"),
                "--cfg-interval": asked.knob("sampling.cfg_interval"),
                "--temperature": asked.knob("sampling.temperature"),
                "--top-k": asked.knob("sampling.top_k"),
                "--top-p": asked.knob("sampling.top_p"),
                "--precision": image.PRECISIONS[asked.dtype],
                **self._checkpoints(asked),
            }
        }

    def _checkpoints(self, asked: Asked) -> dict[str, str]:
        named = {"--gpt-ckpt": asked.option("gpt", ""), "--vq-ckpt": asked.option("vq", "")}
        return {argument: path for argument, path in named.items() if path}

    def use(self, asked: Asked, documents: Documents) -> str:
        return f"python3 autoregressive/sample/sample_c2i.py $(cat FOLDER/{_FILE}) MODEL_ARGUMENTS"


plugin = LlamaGen()
