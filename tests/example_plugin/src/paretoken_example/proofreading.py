"""proofreading: a language model corrects sentences; quality is ROUGE-L against the right ones.

    paretoken search proofreading --study mine --option model=/models/Qwen

Answers copy nearly all of their source, so drafts that are looked up there pay off. The sentences
are our own.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any

PROMPTS = Path(str(files("paretoken_example"))) / "proofreading.jsonl"
_SIZES = {"cpu": (6, 32), "cuda": (12, 64)}  # sentences and tokens where none are named


class Proofreading:
    """Correct a sentence, and change nothing else."""

    modality = "text"

    def space_for(self, options: Mapping[str, Any]) -> str:
        return "text-small"

    def open(
        self,
        *,
        model: str | None = None,
        draft: str | None = None,
        tokens: int | None = None,
        device: str | None = None,
        samples: int | None = None,
        batch: int | None = None,
        **unknown: Any,
    ) -> Any:
        """model, draft: as the workload `text` takes them. tokens: of an answer at most.

        samples: sentences that are corrected. batch: at which speed is measured.
        """
        from paretoken.evaluators.language_opening import check_options, open_language

        known = "model, draft, tokens, device, samples and batch"
        check_options("proofreading", unknown, known)
        from paretoken.evaluators.models import language_model
        from paretoken.evaluators.text_speed import TOKENS_PER_S
        from paretoken.evaluators.text_workload import TextWorkload
        from paretoken.evaluators.workloads.text import CORPUS
        from paretoken_example.rouge_l import plugin as rouge_l

        class Proofread(TextWorkload):
            objectives = (TOKENS_PER_S, rouge_l.objective)

        opened = open_language(
            model=model, prompts=PROMPTS, tokens=tokens, device=device, samples=samples,
            usual=_SIZES,
        )  # fmt: skip
        second = None
        if draft is not None:
            second, other = language_model.load(draft)
            language_model.check_same_tokens(opened.tokenizer, other)
        return Proofread(
            opened.model, opened.tokenizer, opened.prompts, device=opened.device,
            tokens=opened.tokens, batch=batch, draft=second, corpus=CORPUS, metrics=(rouge_l,),
        )  # fmt: skip


plugin = Proofreading()
