"""suggestions: a causal language model that suggests several ways to go on with a text.

    paretoken search suggestions --study ideas
    paretoken search suggestions --study mine --option model=/models/Qwen --prompts mine.jsonl

As an editor or a keyboard does. The 40 beginnings that ship are our own, in four kinds: fact and
code, whose continuation can be checked, mail and story. A prompt is continued as it stands;
`--option chat=true` puts it into the model's chat template. N-grams are counted in a small text of
our own unless `--option corpus=FILE` names another. Install with `pip install 'paretoken[text]'`.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any

from paretoken.spaces.errors import BadValue

_HERE = Path(str(files("paretoken.evaluators.workloads.suggestions")))
PROMPTS = _HERE / "prompts.jsonl"

# By default: prompts judged and tokens of a suggestion, on a CPU and on a GPU.
_SIZES = {"cpu": (12, 10), "cuda": (40, 10)}
_SUGGESTIONS, _MOST = 3, 16
_OPTIONS = "model, prompts, corpus, suggestions, tokens, chat, device, samples and batch"


class Suggestions:
    """Language models, and several continuations at once."""

    modality = "suggestions"

    def space_for(self, options: Mapping[str, Any]) -> str:
        return "suggestions"

    def open(
        self,
        *,
        model: str | None = None,
        prompts: str | None = None,
        corpus: str | None = None,
        suggestions: int = _SUGGESTIONS,
        tokens: int | None = None,
        chat: bool = False,
        device: str | None = None,
        samples: int | None = None,
        batch: int | None = None,
        **unknown: Any,
    ) -> Any:
        """model: a folder or name as Hugging Face's, or a .gguf file. prompts: a JSONL file.

        corpus: a text file whose n-grams are counted. suggestions: for each prompt. tokens: of one
        at most. chat: whether prompts are put into the chat template. samples: prompts that quality
        is judged on, the kinds in turn. batch: prompts at a time, at which speed is measured.
        """
        # Imported here: listing workloads needs none of it.
        from paretoken.evaluators.language_opening import check_options, open_language

        check_options("suggestions", unknown, _OPTIONS)
        whole = isinstance(suggestions, int) and not isinstance(suggestions, bool)
        if not whole or not 1 <= suggestions <= _MOST:
            raise BadValue(
                f"--option suggestions is a number from 1 to {_MOST}; it cannot be {suggestions!r}."
            )
        if not isinstance(chat, bool):
            raise BadValue(f"--option chat is true or false; it cannot be {chat!r}.")
        opened = open_language(
            model=model, prompts=Path(prompts).expanduser() if prompts else PROMPTS, tokens=tokens,
            device=device, samples=samples, usual=_SIZES,
        )  # fmt: skip
        from paretoken.evaluators.suggestions_workload import SuggestionsWorkload
        from paretoken.evaluators.workloads.text import CORPUS

        return SuggestionsWorkload(
            opened.model, opened.tokenizer, opened.prompts, device=opened.device,
            tokens=opened.tokens, batch=batch, wanted=suggestions, chat=chat,
            corpus=Path(corpus).expanduser() if corpus else CORPUS,
        )  # fmt: skip


plugin = Suggestions()
