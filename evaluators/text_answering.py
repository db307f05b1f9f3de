"""A language model with its prompts, ready to answer them with any candidate."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from paretoken.evaluators.components.decoders.speculative import Speculative
from paretoken.evaluators.engine.decode import Decoding
from paretoken.evaluators.engine.geometry import Geometry
from paretoken.evaluators.engine.groups import Groups
from paretoken.evaluators.engine.ngrams import NGrams
from paretoken.evaluators.engine.trigrams import Trigrams
from paretoken.evaluators.models.corpus import ngrams_of, passages_of, trigrams_of
from paretoken.evaluators.models.draft_head import DraftHead
from paretoken.evaluators.models.language_model import contexts_of, ends_of
from paretoken.evaluators.models.shortened_target import ShortenedTarget
from paretoken.evaluators.models.stages import Shortening
from paretoken.evaluators.models.text_target import TextTarget
from paretoken.evaluators.models.weights import digest_of
from paretoken.evaluators.runtime import dtype_of
from paretoken.evaluators.shortening.shortenings import Shortenings
from paretoken.evaluators.shortening.text_lessons import TextLessons
from paretoken.evaluators.text_judge import answer_of
from paretoken.evaluators.text_prompts import Prompt
from paretoken.spaces.candidate import from_tree
from paretoken.spaces.component import Component
from paretoken.spaces.errors import BadInput

GREEDY = {"is": "samplings/standard", "temperature": 0.0}
# Rows answered side by side where only quality is asked for.
_ROWS_AT_ONCE = {"cpu": 4, "cuda": 32}


class Answering:
    """model: in float32. tokens: of an answer at most. draft: a second model of the same tokens.
    head: one trained to draft for the model. corpus: a text file, for drafts that are looked up and
    for calibration. chat: whether prompts stand within the model's chat template.
    lessons: how depths learn; without, those that have to are refused.
    """

    def __init__(
        self,
        model: Any,
        tokenizer: Any,
        prompts: Sequence[Prompt],
        *,
        device: torch.device,
        tokens: int,
        corpus: Path,
        draft: Any = None,
        head: DraftHead | None = None,
        chat: bool = True,
        lessons: TextLessons | None = None,
    ) -> None:
        self.model, self.tokenizer, self._draft = model.eval(), tokenizer, draft
        self._head = head
        self.device, self.tokens, self._corpus = device, tokens, corpus
        self.contexts, self.ends = contexts_of(prompts, tokenizer, chat), ends_of(model, tokenizer)
        self._target: TextTarget | None = None
        self._school = None if lessons is None else lessons.school(self, corpus)
        self.shortenings = Shortenings(lambda: self.exact, self._school)

    @cached_property
    def exact(self) -> TextTarget:
        """The untouched target, in float32."""
        return self.target_in(torch.float32)

    @cached_property
    def greedy(self) -> Tensor:
        """What plain greedy decoding in float32 answers to each prompt, [n, N]."""
        plain, wanted = from_tree({"sampling": GREEDY}), len(self.contexts)
        decoding = Decoding(
            self.exact, plain.decoder, plain.sampling, self._geometry,
            batch=self.rows_for(wanted), seed=0, graphs=False,
        )  # fmt: skip
        return decoding.run(torch.arange(wanted))[0]

    @cached_property
    def trigrams(self) -> Trigrams:
        """The table of the corpus."""
        return trigrams_of(self._corpus, self.tokenizer, self._vocabulary)

    @cached_property
    def ngrams(self) -> NGrams:
        """Longer contexts of the corpus."""
        return ngrams_of(self._corpus, self.tokenizer, self._vocabulary)

    @property
    def _vocabulary(self) -> int:
        return int(self.model.config.get_text_config().vocab_size)

    @cached_property
    def head_digest(self) -> str | None:
        """The identity of the head, if there is one."""
        return None if self._head is None else digest_of(self._head)

    def rows_for(self, answers: int) -> int:
        """How many rows so many answers are best written in, where nobody takes the time."""
        return min(answers, _ROWS_AT_ONCE[self.device.type])

    def target_of(self, candidate: Component) -> TextTarget:
        """The target in a candidate's precision."""
        dtype = dtype_of(candidate, self.device)
        if dtype == torch.float32:
            return self.exact
        if self._target is None or self._target.dtype != dtype:
            self._target = self.target_in(dtype)
        return self._target

    def decoding(self, candidate: Component, batch: int, seed: int) -> Decoding | Groups:
        """A candidate on its target, for `batch` rows."""
        whole, decoder = self.target_of(candidate), decoder_of(candidate)

        def build(short: Shortening | None, prompts: Tensor | None, rows: int) -> Decoding:
            target = whole if short is None else ShortenedTarget(whole, *short, prompts)
            return Decoding(
                target, decoder, candidate.sampling, self._geometry, batch=rows, seed=seed,
                graphs=bool(candidate.runtime.graphs), prompts=prompts,
            )  # fmt: skip

        return self.shortenings.decoding(decoder, build, prompts=len(self.contexts), batch=batch)

    def geometry_of(self, tokens: Tensor) -> Geometry:
        """The geometry of some tokens [V'], on the CPU."""
        rows = self.model.get_input_embeddings().weight.detach()[tokens].cpu()
        return Geometry(rows, rows)

    def text(self, row: Tensor) -> str:
        """An answer [N] in words."""
        text: str = self.tokenizer.decode(answer_of(row, self.ends), skip_special_tokens=True)
        return text

    @cached_property
    def _geometry(self) -> Geometry:
        rows = self.model.get_input_embeddings().weight.detach()
        return Geometry(rows, rows)

    def target_in(self, dtype: torch.dtype) -> TextTarget:
        """A target of its own in some precision."""

        def model_in(model: Any) -> Any:
            # A copy: the next target may want the weights as exact as they were.
            return model if model is None or dtype == model.dtype else copy.deepcopy(model)

        return TextTarget(
            model_in(self.model), self.contexts, length=self.tokens, ends=self.ends,
            device=self.device, dtype=dtype, draft=model_in(self._draft),
            trigrams=lambda: self.trigrams,
            passages=lambda: passages_of(self._corpus, self.tokenizer), head=self._head,
            school=self._school, shortening=self.shortenings.of,
        )  # fmt: skip


def decoder_of(candidate: Component) -> Speculative:
    """The decoder of a candidate; raises BadInput for one that text is not decoded with."""
    decoder = candidate.decoder
    if not isinstance(decoder, Speculative):
        raise BadInput(f"text is decoded with decoders/speculative, not {decoder.tag()}.")
    return decoder
