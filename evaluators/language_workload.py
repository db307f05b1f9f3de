"""What all workloads of a language model share: its identity, recorded rows, and its prompts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
import xxhash
from torch import Tensor

from paretoken.evaluators.environment import environment
from paretoken.evaluators.models.draft_head import DraftHead
from paretoken.evaluators.models.weights import digest_of
from paretoken.evaluators.recorded_rows import RecordedRows
from paretoken.evaluators.runtime import dtype_of, precision
from paretoken.evaluators.shortening.text_lessons import TextLessons
from paretoken.evaluators.text_answering import Answering
from paretoken.evaluators.text_judge import logits_of
from paretoken.evaluators.text_prompts import Prompt
from paretoken.spaces.component import Component
from paretoken.spaces.errors import BadInput

# Recorded rows: of so many prompts, every so many-th of so many tokens, on the likeliest tokens.
_ROWS_PROMPTS, _ROWS_TOKENS, _ROWS_STEP, _ROWS_VOCABULARY = 8, 17, 4, 4096


class LanguageWorkload:
    """A causal language model with its prompts; for the arguments see `Answering`.

    batch: at which speed is measured; None for the candidate's own.
    """

    def __init__(
        self,
        model: Any,
        tokenizer: Any,
        prompts: Sequence[Prompt],
        *,
        device: torch.device,
        tokens: int,
        batch: int | None,
        corpus: Path,
        draft: Any = None,
        head: DraftHead | None = None,
        chat: bool = True,
        lessons: TextLessons | None = None,
    ) -> None:
        self._prompts, self._device, self._batch = tuple(prompts), device, batch
        self.samples = len(self._prompts)
        self._answering = Answering(
            model, tokenizer, prompts, device=device, tokens=tokens, corpus=corpus, draft=draft,
            head=head, chat=chat, lessons=lessons,
        )  # fmt: skip
        self._identity = digest_of(model, *([] if draft is None else [draft]))
        contexts, ends = self._answering.contexts, self._answering.ends
        asked = (part for c in contexts for part in (c.tokens.tolist(), c.source))
        self._asked = xxhash.xxh3_128_hexdigest(" ".join(map(str, (*asked, ends))).encode())
        self._rows: tuple[bytes, RecordedRows] | None = None
        self.environment = environment(device)

    def check_samples(self, samples: int) -> None:
        """Refuse no answers, and more than there are prompts."""
        if not 1 <= samples <= self.samples:
            raise BadInput(
                f"quality cannot be judged on {samples} answers: this workload was opened with "
                f"{self.samples} prompts."
            )

    def context(self) -> Mapping[str, Any]:
        # How long an answer may be: what is recorded, and every speed, rest on it.
        return {
            "model": self._identity,
            "prompts": self._asked,
            "tokens": self._answering.tokens,
        }

    def record(self) -> bytes:
        """Rows of plain greedy answers in float32, on the tokens that are likely in any of them."""
        target = self._answering.exact
        tokens = self._answering.greedy[:_ROWS_PROMPTS, :_ROWS_TOKENS]
        with torch.inference_mode():
            logits = [
                logits_of(target, context.tokens, row).cpu()
                for context, row in zip(target.contexts, tokens, strict=False)
            ]
        every = torch.stack(logits)
        likeliest = every.log_softmax(-1).amax((0, 1)).topk(min(_ROWS_VOCABULARY, every.shape[-1]))
        kept = likeliest.indices.sort().values
        some = every[..., kept]
        return RecordedRows.of(some, some, _ROWS_STEP, kept).dump()

    def _recorded(self, recording: bytes) -> RecordedRows:
        if self._rows is None or self._rows[0] != recording:
            self._rows = (recording, RecordedRows.load(recording))
        return self._rows[1]

    def _context_of(self, candidate: Component) -> dict[str, Any]:
        """What floats on recorded rows mean something together with."""
        dtype = dtype_of(candidate, self._device)
        how = precision(self._device)
        if self._device.type == "cuda":
            how += ", attention not cuDNN's"
        return {
            **self.context(),
            "dtype": str(dtype).removeprefix("torch."),
            "precision": how,
        }

    def _timed(self, batch: int) -> list[int]:
        """Prompts to measure speed on: one of each kind, and as many as there are rows."""
        timed = self._one_of_each_kind(self.samples)
        return timed + [i % self.samples for i in range(len(timed), batch)]

    def _one_of_each_kind(self, among: int) -> list[int]:
        """The first prompt of each kind among the first so many."""
        kinds = [prompt.kind for prompt in self._prompts[:among]]
        return [kinds.index(kind) for kind in dict.fromkeys(kinds)]

    def _chosen(self, prompts: tuple[int, ...], samples: int) -> Tensor:
        """The prompts named, or all, `samples` at most. Raises BadInput for one there is not."""
        for one in prompts:
            if not 0 <= one < self.samples:
                raise BadInput(f"prompt {one} does not exist: there are 0 to {self.samples - 1}.")
        return torch.tensor((prompts or tuple(range(self.samples)))[:samples])

    def _comparable(self, answers: int) -> str:
        """What two values of quality have to share to compare."""
        prompts = f"{answers} of {self._asked[:12]}"
        return f"{self._identity[:12]}|{prompts}|{self._answering.tokens} tokens"
