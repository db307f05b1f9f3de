"""vLLM: a file for `vllm serve MODEL --config`, with the speculative configuration in it.

N-gram lookup and a draft model; the draft length may depend on the batch size. The model's own
generation_config.json is left aside, for penalties in it would change the law that was measured.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from paretoken.search.exporters import Documents, Engine, Exporter
from paretoken.search.exporting import text
from paretoken.search.exporting.asked import Asked
from paretoken.search.exporting.refusal import Code, Finding
from paretoken.search.exporting.schedule import Schedule

_FILE, _DRAFTING = "vllm.yaml", "speculative-config"
_LENGTH, _TABLE = "num_speculative_tokens", "num_speculative_tokens_per_batch_size"


class Vllm(Exporter):
    engine = Engine("vLLM", "0.33.0", "vllm/config/speculative.py", "vllm-0.33.json", "text")

    def express(self, asked: Asked) -> Documents:
        name = self.engine.name
        text.check_model(asked, name)
        text.check_fixed(asked, name)
        accept = text.rule(
            asked, name, has=("block",),
            removed="vLLM had it as typical_acceptance_sampler; 0.33 has it no more",
        )  # fmt: skip
        drafter = asked.among("drafter", ("none", "prompt_lookup", "small_model"), name)
        text.note_concurrency(asked)
        found: dict[str, Any] = {
            "dtype": asked.dtype,
            "generation-config": "vllm",
            "override-generation-config": {
                **text.law(asked), "min_p": 0.0, "repetition_penalty": 1.0,
            },
        }  # fmt: skip
        if drafter == "prompt_lookup":
            text.check_first(asked, name)
            found[_DRAFTING] = {
                "method": "ngram",
                _LENGTH: asked.draft_length,
                # Left out, the least would be equal to the most, whatever the documentation says.
                "prompt_lookup_min": 1,
                "prompt_lookup_max": asked.knob("drafter.ngram"),
            }
        elif drafter == "small_model":
            found[_DRAFTING] = {
                "method": "draft_model",
                "model": asked.option("draft", "DRAFT"),
                _LENGTH: asked.draft_length,
                "draft_sample_method": "probabilistic" if text.drawn(asked) else "greedy",
                "rejection_sample_method": "block" if accept == "block" else "standard",
            }
            if accept == "block":
                asked.note(
                    Code.SILENTLY_IGNORED, "verifier",
                    "only vLLM's V2 runner verifies blocks; the older one goes token by token, "
                    "which is as lossless and a little slower",
                )  # fmt: skip
        return {_FILE: found}

    def by_batch(self, asked: Asked, documents: Documents, schedule: Schedule) -> Documents:
        if schedule.longest == 0:
            asked.refuse(
                Code.CROSS_FIELD, "schedule", "plain decoding was fastest at every batch size",
                "export plain decoding", value=schedule.told(),
            )  # fmt: skip
            return documents
        drafting = documents[_FILE][_DRAFTING]
        drafting[_LENGTH] = schedule.longest
        drafting[_TABLE] = [[row.first, row.last, row.drafts] for row in schedule.rows]
        last = schedule.rows[-1]
        asked.note(
            Code.UNVERIFIED_SEMANTICS, "schedule",
            f"above batch {last.last}, the largest measured, vLLM goes on with {last.drafts}",
            schedule.told(),
        )  # fmt: skip
        asked.note(
            Code.SILENTLY_IGNORED, "schedule", "vLLM drops the table under data parallelism",
            schedule.told(),
        )  # fmt: skip
        return documents

    def crossed(self, documents: Documents) -> Iterator[Finding]:
        drafting = documents[_FILE].get(_DRAFTING, {})
        least, most = (drafting.get(f"prompt_lookup_{end}", 1) for end in ("min", "max"))
        if least > most:
            yield Finding(
                Code.CROSS_FIELD, "prompt_lookup_min", least, f"prompt_lookup_max is {most}"
            )
        expected = 1
        for first, last, drafts in drafting.get(_TABLE, []):
            if first != expected or last < first:
                why = f"ranges are without gaps from 1 on: {expected} is next"
                yield Finding(Code.CROSS_FIELD, _TABLE, [first, last, drafts], why)
            if drafts > drafting[_LENGTH]:
                why = f"vLLM cuts it to {_LENGTH}, {drafting[_LENGTH]}"
                yield Finding(Code.CROSS_FIELD, _TABLE, [first, last, drafts], why)
            expected = last + 1

    def use(self, asked: Asked, documents: Documents) -> str:
        return f"vllm serve {asked.option('model', 'MODEL')} --config FOLDER/{_FILE}"


plugin = Vllm()
