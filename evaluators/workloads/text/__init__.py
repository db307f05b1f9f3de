"""text: a causal language model that answers prompts; SmolLM2-135M-Instruct unless one is named.

    paretoken search text --study words
    paretoken search text --study mine --option model=/models/Qwen --option prompts=mine.jsonl

The 61 prompts that ship are our own, in six kinds: chat, summarise, rewrite, question, arithmetic
and edit (of code). Tri-grams are counted, on first use, in a small text of our own unless
`--option corpus=FILE` names another. Install with `pip install 'paretoken[text]'`.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any

_HERE = Path(str(files("paretoken.evaluators.workloads.text")))
PROMPTS, CORPUS = _HERE / "prompts.jsonl", _HERE / "corpus.txt"
# Drafts for the embedded model; written by `train_head`, described by head.md.
HEAD = _HERE / "head.safetensors"

# By default: prompts judged and tokens of an answer, on a CPU and on a GPU.
_SIZES = {"cpu": (12, 32), "cuda": (60, 128)}
# What depths learn from: see `shortening.teaching.Sizes`.
_LESSONS = {
    "cpu": {"lessons": 24, "steps": 24, "lesson_batch": 2, "calibration": 4, "trials": 16},
    "cuda": {"lessons": 1536, "steps": 200, "lesson_batch": 64, "calibration": 64, "trials": 100},
}
_OPTIONS = (
    "model, draft, head, prompts, corpus, tokens, metrics, device, samples, batch, artefacts, "
    "lessons, lesson_tokens, lesson_batch, steps, calibration and trials"
)


class Text:
    """Language models, judged by themselves."""

    modality = "text"

    def space_for(self, options: Mapping[str, Any]) -> str:
        head = _head(options.get("model"), options.get("head"))
        return "text-decoding" if head is None else "text-with-head"

    def open(
        self,
        *,
        model: str | None = None,
        draft: str | None = None,
        head: str | None = None,
        prompts: str | None = None,
        corpus: str | None = None,
        tokens: int | None = None,
        metrics: str | None = None,
        device: str | None = None,
        samples: int | None = None,
        batch: int | None = None,
        **more: Any,
    ) -> Any:
        """model, draft: folders or names as Hugging Face's, or .gguf files. prompts: a JSONL file.

        head: a file that `train_head` wrote for the model. corpus: a text file that drafts are
        looked up in. tokens: of an answer at most. metrics: names of plug-ins that are measured
        too, with commas. samples: prompts that quality is judged on, the kinds in turn. batch:
        at which speed is measured.

        more: what depths and drafters learn about the model's layers, they learn from its own
        answers: lessons of them with lesson_tokens each (left out: as many as an answer may have,
        for a schedule by position goes on to its end), lesson_batch at a time, in so many steps;
        sets of layers are calibrated on `calibration` of them, with so many trials. artefacts: the
        folder where all of it is kept; left out, one in the user's cache.
        """
        # Imported here: listing workloads needs none of it.
        from paretoken.evaluators.environment import device_named
        from paretoken.evaluators.language_opening import check_options, open_language
        from paretoken.evaluators.metrics.by_sample import load_metrics
        from paretoken.evaluators.shortening.options import learning

        kind = device_named(device).type
        longest = _SIZES[kind][1] if tokens is None else tokens
        folder, sizes, named = learning(more, {**_LESSONS[kind], "lesson_tokens": longest})
        check_options("text", more, _OPTIONS)
        measured = load_metrics(metrics, self.modality)
        opened = open_language(
            model=model, prompts=Path(prompts).expanduser() if prompts else PROMPTS, tokens=tokens,
            device=device, samples=samples, usual=_SIZES,
        )  # fmt: skip
        from paretoken.evaluators.models import draft_head, language_model
        from paretoken.evaluators.shortening.text_lessons import TextLessons
        from paretoken.evaluators.text_workload import TextWorkload

        second = None
        if draft is not None:
            second, other = language_model.load(draft)
            language_model.check_same_tokens(opened.tokenizer, other)
        file = _head(model, head)
        trained = None if file is None else draft_head.load_for(opened.model, file)
        return TextWorkload(
            opened.model, opened.tokenizer, opened.prompts, device=opened.device,
            tokens=opened.tokens, batch=batch, draft=second, head=trained,
            corpus=Path(corpus).expanduser() if corpus else CORPUS, metrics=measured,
            lessons=TextLessons(folder, sizes, named["lesson_tokens"]),
        )  # fmt: skip


def _head(model: str | None, head: str | None) -> Path | None:
    """The file of a draft head: the user's, or the one that ships for the embedded model."""
    if head is not None:
        return Path(head).expanduser()
    return HEAD if model is None and HEAD.is_file() else None


plugin = Text()
