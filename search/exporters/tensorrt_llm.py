"""TensorRT-LLM: a file for `trtllm-serve MODEL --config`, for its PyTorch backend.

N-gram lookup and a draft model; the draft length may depend on the batch size. The n-gram pool can
keep the oldest or the newest continuation and is made each request's own, as it was measured.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from paretoken.search.exporters import Documents, Engine, Exporter
from paretoken.search.exporting import text
from paretoken.search.exporting.asked import Asked
from paretoken.search.exporting.refusal import Code, Finding
from paretoken.search.exporting.schedule import Schedule

_FILE, _DRAFTING = "trtllm.yaml", "speculative_config"


class TensorrtLlm(Exporter):
    engine = Engine(
        "TensorRT-LLM", "main at 0004396", "tensorrt_llm/llmapi/llm_args.py",
        "tensorrt_llm-0004396.json", "text",
    )  # fmt: skip

    def express(self, asked: Asked) -> Documents:
        name = self.engine.name
        text.check_model(asked, name)
        text.check_fixed(asked, name)
        text.rule(asked, name, removed="only older releases, with Medusa heads, had such a rule")
        drafter = asked.among("drafter", ("none", "prompt_lookup", "small_model"), name)
        text.note_concurrency(asked)
        found: dict[str, Any] = {"dtype": asked.dtype}
        if drafter == "prompt_lookup":
            oldest = asked.knob("drafter.which") == "first"
            found[_DRAFTING] = {
                "decoding_type": "NGram",
                "max_draft_len": asked.draft_length,
                "max_matching_ngram_size": asked.knob("drafter.ngram"),
                "is_keep_all": True,
                "is_use_oldest": oldest,
                "is_public_pool": False,
            }
        elif drafter == "small_model":
            found[_DRAFTING] = {
                "decoding_type": "Draft_Target",
                "max_draft_len": asked.draft_length,
                "speculative_model": asked.option("draft", "DRAFT"),
            }
            text.check_greedy_drafts(asked, name)
        return {_FILE: found}

    def by_batch(self, asked: Asked, documents: Documents, schedule: Schedule) -> Documents:
        first, last = schedule.rows[0], schedule.rows[-1]
        if schedule.longest == 0 or first.drafts != schedule.longest:
            asked.refuse(
                Code.CROSS_FIELD, "schedule",
                "TensorRT-LLM wants the longest drafts at the smallest batch sizes",
                "export without --by-batch", value=schedule.told(),
            )  # fmt: skip
            return documents
        drafting = documents[_FILE][_DRAFTING]
        drafting["max_draft_len"] = schedule.longest
        # Above the largest size that is named nothing is drafted: a last row of 0 says itself.
        rows = schedule.rows[:-1] if last.drafts == 0 else schedule.rows
        drafting["draft_len_schedule"] = {row.last: row.drafts for row in rows}
        if last.drafts:
            asked.note(
                Code.UNVERIFIED_SEMANTICS, "schedule",
                f"above batch {last.last}, the largest measured, TensorRT-LLM drafts nothing",
                schedule.told(),
            )  # fmt: skip
        return documents

    def crossed(self, documents: Documents) -> Iterator[Finding]:
        drafting = documents[_FILE].get(_DRAFTING, {})
        table = drafting.get("draft_len_schedule", {})
        if table and table[min(table)] != drafting["max_draft_len"]:
            why = f"the smallest batch size has max_draft_len, {drafting['max_draft_len']}"
            yield Finding(Code.CROSS_FIELD, "draft_len_schedule", table, why)

    def request(self, asked: Asked) -> Mapping[str, Any]:
        return text.law(asked)

    def use(self, asked: Asked, documents: Documents) -> str:
        return f"trtllm-serve {asked.option('model', 'MODEL')} --config FOLDER/{_FILE}"


plugin = TensorrtLlm()
