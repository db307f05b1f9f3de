"""llama.cpp: arguments of `llama-server` and `llama-cli`.

A draft model as GGUF, and lookup of an n-gram of one size at its latest occurrence. Its defaults of
sampling are not those of others, and its order is: everything is said, temperature first.
"""

from __future__ import annotations

from typing import Any

from paretoken.search.exporters import Documents, Engine, Exporter
from paretoken.search.exporting import text
from paretoken.search.exporting.asked import Asked
from paretoken.search.exporting.refusal import Code

_FILE = "llama-server.args"


class LlamaCpp(Exporter):
    engine = Engine(
        "llama.cpp", "as in llama-cpp-python 0.3.36", "common/arg.cpp, ngram-map.cpp",
        "llama_cpp-0.3.36.json", "text",
    )  # fmt: skip

    def express(self, asked: Asked) -> Documents:
        name = self.engine.name
        text.check_model(asked, name)
        text.rule(asked, name)
        drafter = asked.among("drafter", ("none", "prompt_lookup", "small_model"), name)
        found: dict[str, Any] = {}
        if drafter == "prompt_lookup":
            text.check_fixed(asked, name)
            self._check_lookup(asked)
            found = {
                "--spec-type": "ngram-simple",
                "--spec-ngram-simple-size-n": asked.knob("drafter.ngram"),
                "--spec-ngram-simple-size-m": asked.draft_length,
                "--spec-ngram-simple-min-hits": 1,
            }
        elif drafter == "small_model":
            found = {
                "--spec-type": "draft-simple",
                "--spec-draft-model": self._gguf(asked),
                "--spec-draft-n-max": asked.draft_length,
                "--spec-draft-n-min": 0,
                "--spec-draft-p-min": self._confidence(asked),
            }
            text.check_greedy_drafts(asked, name)
        asked.note(
            Code.RUNTIME_ONLY, "runtime.dtype", "precision is that of the GGUF file that is run"
        )
        law = text.law(asked)
        return {
            _FILE: found
            | {
                "--samplers": "temperature;top_k;top_p",
                "--temp": law["temperature"],
                "--top-k": law["top_k"],
                "--top-p": law["top_p"],
                "--min-p": 0.0,
                "--typical-p": 1.0,
            }
        }

    def _check_lookup(self, asked: Asked) -> None:
        if asked.knob("drafter.which") != "latest":
            asked.refuse(
                Code.NOT_EXPRESSIBLE, "drafter.which", "llama.cpp copies the latest occurrence",
                "take a candidate with which == \"latest\"",
            )  # fmt: skip
        if asked.knob("drafter.ngram") != 1:
            asked.refuse(
                Code.NOT_EXPRESSIBLE, "drafter.ngram",
                "llama.cpp looks up n-grams of one size and never falls back to shorter ones",
                "take a candidate with ngram == 1",
            )  # fmt: skip

    def _confidence(self, asked: Asked) -> float:
        if asked.among("length", ("fixed", "confidence"), self.engine.name) != "confidence":
            return 0.0
        asked.doubt("length.least", "llama.cpp does not check the token it was unsure of")
        return float(asked.knob("length.least"))

    def _gguf(self, asked: Asked) -> str:
        path = asked.option("draft", "DRAFT.gguf")
        if not path.endswith(".gguf"):
            asked.refuse(
                Code.RUNTIME_ONLY, "drafter", f"llama.cpp reads GGUF files, and {path} is none",
                "convert it with llama.cpp's convert_hf_to_gguf.py, and search with --option "
                "draft=FILE.gguf",
            )  # fmt: skip
        return path

    def use(self, asked: Asked, documents: Documents) -> str:
        model = asked.option("model", "MODEL.gguf")
        return f"llama-server --model {model} $(cat FOLDER/{_FILE})"


plugin = LlamaCpp()
