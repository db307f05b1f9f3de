"""Hugging Face transformers: `generation_config.json`, and the assistant's beside it.

Plain decoding, prompt lookup, early layers and a second model. The assistant is an argument of the
call, and its lengths are read from its own configuration; early layers take them from the model's,
but where the layers themselves are in that file, generate() drafts within its drafts: they are an
argument of the call, too. Defaults that would draft otherwise than was measured (20 tokens, a
threshold of 0.4) are always written out.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from paretoken.search.exporters import Documents, Engine, Exporter
from paretoken.search.exporting import text
from paretoken.search.exporting.asked import Asked
from paretoken.search.exporting.refusal import Code

_MODEL, _ASSISTANT = "generation_config.json", "assistant/generation_config.json"
# The schedule `heuristic_transient`: two more after a round that kept all, else one less, not
# below one draft, for ever.
_HEURISTIC = {"grow": 2, "shrink": 1, "least": 2}


class Transformers(Exporter):
    engine = Engine(
        "transformers", "5.24", "generation/configuration_utils.py, candidate_generator.py",
        "transformers-5.24.json", "text",
    )  # fmt: skip

    def express(self, asked: Asked) -> Documents:
        name = self.engine.name
        text.check_model(asked, name)
        text.rule(asked, name)
        drafter = asked.among(
            "drafter", ("none", "prompt_lookup", "early_layers", "small_model"), name
        )
        if drafter != "none" and asked.knob("runtime.batch") > 1:
            asked.refuse(
                Code.NOT_EXPRESSIBLE, "runtime.batch", f"{name} drafts for one sequence at a time",
                "take a candidate with batch == 1, or one that drafts nothing",
            )  # fmt: skip
        if drafter in ("early_layers", "small_model"):
            text.check_drawn(asked, name)
        documents: Documents = {_MODEL: self._law(asked)}
        if drafter == "prompt_lookup":
            text.check_fixed(asked, name)
            text.check_first(asked, name)
            documents[_MODEL] |= {
                "prompt_lookup_num_tokens": asked.draft_length,
                "max_matching_ngram_size": asked.knob("drafter.ngram"),
            }
        elif drafter == "early_layers":
            documents[_MODEL] |= self._lengths(asked)
            why = "the layers are an argument of generate(); in the file they would draft twice"
            asked.note(Code.RUNTIME_ONLY, "drafter.layers", why)
        elif drafter == "small_model":
            documents[_ASSISTANT] = self._lengths(asked)
            asked.note(Code.RUNTIME_ONLY, "drafter", "the assistant is an argument of generate()")
        return documents

    def _law(self, asked: Asked) -> dict[str, Any]:
        if asked.greedy:
            return {"do_sample": False}
        return {"do_sample": True, **text.law(asked)}

    def _lengths(self, asked: Asked) -> dict[str, Any]:
        """How many tokens the assistant drafts."""
        rule = asked.among("length", ("fixed", "adaptive", "confidence"), self.engine.name)
        found: dict[str, Any] = {
            "num_assistant_tokens": asked.draft_length,
            "num_assistant_tokens_schedule": "constant",
            "assistant_confidence_threshold": 0.0,
        }
        if rule == "confidence":
            found["assistant_confidence_threshold"] = asked.knob("length.least")
            if not asked.greedy and text.law(asked) != {"temperature": 1.0, "top_k": 0, "top_p": 1}:
                asked.doubt("length.least", "transformers compares it with the sampling law")
            if asked.part("drafter") == "small_model":
                asked.note(
                    Code.UNVERIFIED_SEMANTICS, "length.least",
                    "where scikit-learn is installed transformers changes it while it runs",
                )  # fmt: skip
        if rule == "adaptive":
            own = {knob: asked.knob(f"length.{knob}") for knob in _HEURISTIC}
            if own != _HEURISTIC:
                asked.refuse(
                    Code.NOT_EXPRESSIBLE, "length", "transformers grows by 2 and shrinks by 1",
                    "take a candidate with grow == 2, shrink == 1 and least == 2", value=own,
                )  # fmt: skip
            else:
                window = asked.draft_length + 1
                # Half a window is where lengths/adaptive begins.
                found["num_assistant_tokens"] = max(own["least"], window // 2) - 1
                found["num_assistant_tokens_schedule"] = "heuristic_transient"
                asked.doubt("drafter.window", "transformers lets the length grow without a bound")
        return found

    def request(self, asked: Asked) -> Mapping[str, Any]:
        if asked.part("drafter") != "early_layers":
            return {}
        return {"assistant_early_exit": asked.knob("drafter.layers")}

    def use(self, asked: Asked, documents: Documents) -> str:
        lines = [
            "from transformers import AutoModelForCausalLM, GenerationConfig",
            f"model = AutoModelForCausalLM.from_pretrained({_model(asked)}, dtype={asked.dtype!r})",
            'settings = GenerationConfig.from_pretrained("FOLDER")',
            "model.generation_config.update(**settings.to_diff_dict())",
        ]
        more = "".join(f", {name}={value}" for name, value in self.request(asked).items())
        if _ASSISTANT in documents:
            lines += [
                f"assistant = AutoModelForCausalLM.from_pretrained({asked.option('draft', '')!r})",
                'drafting = GenerationConfig.from_pretrained("FOLDER/assistant")',
                "assistant.generation_config.update(**drafting.to_diff_dict())",
            ]
            more = ", assistant_model=assistant"
        return "\n".join(
            [
                *lines,
                f"model.generate(**inputs, max_new_tokens={asked.option('tokens', '128')}{more})",
            ]
        )


def _model(asked: Asked) -> str:
    return repr(asked.option("model", "MODEL"))


plugin = Transformers()
