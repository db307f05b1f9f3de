"""SGLang: a file for `python -m sglang.launch_server --config`.

A stand-alone draft model, n-gram lookup in a trie, and the one lossy rule it has: acceptance
min(1, p / threshold), which for certain drafts is `amplified`. Sampling is each request's own, so
that the model's defaults are turned off and the law is told beside the file.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from paretoken.search.exporters import Documents, Engine, Exporter
from paretoken.search.exporting import text
from paretoken.search.exporting.asked import Asked
from paretoken.search.exporting.refusal import Code, Finding
from paretoken.search.exporting.schedule import Schedule

_FILE = "sglang.yaml"


class Sglang(Exporter):
    engine = Engine(
        "SGLang", "0.5.23", "srt/arg_groups/fields/spec.py, speculative_hook.py",
        "sglang-0.5.json", "text",
    )  # fmt: skip

    def express(self, asked: Asked) -> Documents:
        name = self.engine.name
        text.check_model(asked, name)
        text.check_fixed(asked, name)
        drafter = asked.among("drafter", ("none", "prompt_lookup", "small_model"), name)
        # With a draft model SGLang drafts its likeliest token, and p/q is another ratio.
        has = ("amplified",) if drafter == "prompt_lookup" else ()
        accept = text.rule(asked, name, has=has)
        text.note_concurrency(asked)
        found: dict[str, Any] = {"dtype": asked.dtype, "sampling-defaults": "openai"}
        if drafter == "none":
            return {_FILE: found}
        drafts = asked.draft_length
        if drafter == "prompt_lookup":
            found |= {
                "speculative-algorithm": "NGRAM",
                # A chain: one branch, of which the root is counted too.
                "speculative-num-draft-tokens": drafts + 1,
                "speculative-ngram-min-bfs-breadth": 1,
                "speculative-ngram-max-bfs-breadth": 1,
                "speculative-ngram-max-trie-depth": asked.knob("drafter.ngram") + drafts,
            }
            asked.doubt(
                "drafter",
                "SGLang looks n-grams up in a trie that all requests fill; here each prompt and "
                "answer was looked up in itself",
            )
        else:
            found |= {
                "speculative-algorithm": "STANDALONE",
                "speculative-draft-model-path": asked.option("draft", "DRAFT"),
                "speculative-num-steps": drafts,
                "speculative-eagle-topk": 1,
                "speculative-num-draft-tokens": drafts + 1,
            }
            if drafter == "small_model":  # others are refused, and need not have a choice
                text.check_greedy_drafts(asked, name)
        if accept == "amplified":
            found["speculative-accept-threshold-acc"] = 1.0 / asked.knob("verifier.factor")
            found["speculative-accept-threshold-single"] = 1.0
            asked.note(
                Code.SILENTLY_IGNORED, "verifier.factor",
                "a batch in which every request is greedy is verified exactly",
            )  # fmt: skip
        asked.note(
            Code.SILENTLY_IGNORED, "runtime.batch",
            "with drafts SGLang runs 48 requests at most unless --max-running-requests says more",
        )  # fmt: skip
        return {_FILE: found}

    def by_batch(self, asked: Asked, documents: Documents, schedule: Schedule) -> Documents:
        asked.refuse(
            Code.SILENTLY_IGNORED, "schedule",
            "SGLang changes the draft length for EAGLE heads only, and goes on with a warning",
            "export without --by-batch", value=schedule.told(),
        )  # fmt: skip
        return documents

    def crossed(self, documents: Documents) -> Iterator[Finding]:
        found = documents[_FILE]
        steps, tokens = (found.get(f"speculative-num-{n}") for n in ("steps", "draft-tokens"))
        if steps is not None and tokens != steps + 1:
            why = f"a chain of {steps} drafts has {steps + 1} tokens with its root"
            yield Finding(Code.CROSS_FIELD, "speculative-num-draft-tokens", tokens, why)

    def request(self, asked: Asked) -> Mapping[str, Any]:
        law = text.law(asked)
        return {**law, "top_k": law["top_k"] or -1}  # -1: all

    def use(self, asked: Asked, documents: Documents) -> str:
        model = asked.option("model", "MODEL")
        return f"python -m sglang.launch_server --model-path {model} --config FOLDER/{_FILE}"


plugin = Sglang()
