"""The text workload: answer prompts with a candidate, judge the answers, time the answering."""

from __future__ import annotations

import copy
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
import xxhash
from torch import Tensor

from paretoken.evaluators.components.decoders.shortened import Shortened
from paretoken.evaluators.components.decoders.speculative import Speculative
from paretoken.evaluators.engine.decode import Decoding
from paretoken.evaluators.engine.geometry import Geometry
from paretoken.evaluators.engine.trigrams import Trigrams
from paretoken.evaluators.environment import environment
from paretoken.evaluators.law import law_of
from paretoken.evaluators.metrics.text import OBJECTIVES, Answer, check_repetition, quality
from paretoken.evaluators.models.corpus import passages_of, trigrams_of
from paretoken.evaluators.models.language_model import contexts_of, ends_of
from paretoken.evaluators.models.shortened_target import ShortenedTarget
from paretoken.evaluators.models.text_target import TextTarget
from paretoken.evaluators.models.weights import digest_of
from paretoken.evaluators.recorded_rows import RecordedRows
from paretoken.evaluators.runtime import at_batch, dtype_of, precision
from paretoken.evaluators.text_judge import answer_of, judged, logits_of
from paretoken.evaluators.text_prompts import Prompt
from paretoken.evaluators.text_speed import TIMED_SEED, TOKENS_PER_S, time_answers
from paretoken.spaces.candidate import from_tree, to_tree
from paretoken.spaces.component import Component
from paretoken.spaces.errors import BadInput
from paretoken.spaces.workload import Behaviour, Observed, Report, Sampled

# Recorded rows: of so many prompts, every so many-th of so many tokens, on the likeliest tokens.
_ROWS_PROMPTS, _ROWS_TOKENS, _ROWS_STEP, _ROWS_VOCABULARY = 8, 17, 4, 4096
# Rows answered side by side where only quality is asked for.
_ROWS_AT_ONCE = {"cpu": 4, "cuda": 32}
_GREEDY = {"is": "samplings/standard", "temperature": 0.0}


class TextWorkload:
    """A causal language model with its prompts.

    draft: a second model of the same tokens. corpus: a text file, for drafts that are looked up and
    for calibration.
    """

    objectives = (TOKENS_PER_S, OBJECTIVES["nll"])

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
    ) -> None:
        self._corpus = corpus
        self._model, self._tokenizer, self._draft = model.eval(), tokenizer, draft
        self._prompts, self._device = tuple(prompts), device
        self.samples = len(self._prompts)
        self._tokens, self._batch = tokens, batch
        self._contexts, self._ends = contexts_of(prompts, tokenizer), ends_of(model, tokenizer)
        self._identity = digest_of(model, *([] if draft is None else [draft]))
        asked = (part for c in self._contexts for part in (c.tokens.tolist(), c.source))
        self._asked = xxhash.xxh3_128_hexdigest(" ".join(map(str, (*asked, self._ends))).encode())
        self._target: TextTarget | None = None
        self._rows: tuple[bytes, RecordedRows] | None = None
        self.environment = environment(device)

    def plain(self) -> Component:
        """Plain greedy decoding at the batch that speed is measured at."""
        return at_batch(from_tree({"sampling": _GREEDY}), self._batch)

    def check_samples(self, samples: int) -> None:
        """Refuse more answers than there are prompts."""
        if samples > self.samples:
            raise BadInput(
                f"quality cannot be judged on {samples} answers: this workload was opened with "
                f"{self.samples} prompts."
            )

    def context(self) -> Mapping[str, Any]:
        return {"model": self._identity, "prompts": self._asked}

    def record(self) -> bytes:
        """Rows of plain greedy answers in float32, on the tokens that are likely in any of them."""
        target = self._exact
        tokens = self._greedy[:_ROWS_PROMPTS, :_ROWS_TOKENS]
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

    def behaviour(self, candidate: Component, recording: bytes) -> Behaviour:
        begun = time.perf_counter()
        candidate = at_batch(candidate, self._batch)
        decoder = _decoder(candidate)
        if self._rows is None or self._rows[0] != recording:
            self._rows = (recording, RecordedRows.load(recording))
        rows = self._rows[1]
        kept = torch.from_numpy(rows.vocabulary)
        law = law_of(decoder, candidate.sampling, self._geometry_of(kept), rows)
        evidence, layers = law.evidence, self._kept(decoder)
        tree = to_tree(candidate)
        drafting = {part: tree["decoder"][part] for part in ("drafter", "length")}
        if decoder.drafter.asks_corpus:
            drafting["corpus"] = self._trigrams.digest
        dtype = dtype_of(candidate, self._device)
        context = {
            **self.context(),
            "dtype": str(dtype).removeprefix("torch."),
            "precision": precision(self._device),
        }
        if tree["sampling"].get("top_k", 0) >= len(kept):
            context["sampling"] = tree["sampling"]  # the recorded tokens cannot tell such apart
        if layers is not None:
            # Another target, known exactly: rules that follow it share its law, not the model's.
            context["layers"] = _digest(layers)
            evidence = {"lossless": "no", "target": "layers are left out", "rule": evidence}
        return Behaviour(
            context=context,
            target=law.target,
            drafting=drafting,
            rule=law.rule,
            lossless=law.lossless,
            evidence=evidence,
            conditions={"prompts": self._asked, "tokens": self._tokens},
            runtime=tree["runtime"],
            seconds=time.perf_counter() - begun,
        )

    def sample(self, candidate: Component, samples: int, seed: int, report: Report) -> Sampled:
        """Answers to the first `samples` prompts, which are of all kinds in turn."""
        begun = time.perf_counter()
        report("preparing", 0.0)
        batch = min(samples, _ROWS_AT_ONCE[self._device.type])
        decoding = self._decoding(candidate, batch, seed)
        tokens, trace = decoding.run(
            torch.arange(samples),
            0,
            lambda done, of: report(f"quality: {done} of {of} answers", 0.8 * done / of),
        )
        seconds = time.perf_counter() - begun
        return Sampled(tokens.numpy(), trace.arrays(), seconds, (trace, batch))

    def judge(self, sampled: Sampled, report: Report) -> Observed:
        """What the target, in float32, thinks of the answers; repetition, and right answers."""
        begun = time.perf_counter()
        trace, batch = sampled.payload
        report("quality: judging", 0.8)
        tokens = torch.from_numpy(sampled.tokens)
        answers = self._judged(tokens)
        check_repetition(answers, self._of_plain[: len(answers)])
        detail = {
            "batch": batch,
            "decode_seconds": trace.seconds,
            "samples_text": self._shown(tokens),
        }
        prompts = f"{len(answers)} of {self._asked[:12]}"
        comparable = f"{self._identity[:12]}|{prompts}|{self._tokens} tokens"
        return Observed(
            quality(answers, comparable), sampled.seconds + time.perf_counter() - begun, detail
        )

    def speed(self, candidate: Component, report: Report) -> Observed:
        """Tokens per second on one prompt of each kind, at the candidate's batch."""
        begun = time.perf_counter()
        candidate = at_batch(candidate, self._batch)
        batch = int(candidate.runtime.batch)
        report("preparing", 0.0)
        kinds = [prompt.kind for prompt in self._prompts]
        timed = [kinds.index(kind) for kind in dict.fromkeys(kinds)]
        timed += [i % len(kinds) for i in range(len(timed), batch)]  # as many as there are rows
        found = time_answers(
            self._decoding(candidate, batch, TIMED_SEED),
            torch.tensor(timed),
            [kinds[i] for i in timed],
            batch=batch,
            ends=self._ends,
            device=self._device,
            report=report,
        )
        return replace(found, seconds=time.perf_counter() - begun)

    def generate(
        self, tree: Mapping[str, Any], classes: tuple[int, ...], samples: int, seed: int
    ) -> list[dict[str, str]]:
        """Answers to prompts `classes` (all if none are named), as texts, `samples` at most."""
        n = len(self._prompts)
        for one in classes:
            if not 0 <= one < n:
                raise BadInput(f"prompt {one} does not exist: there are 0 to {n - 1}.")
        chosen = classes or tuple(range(n))
        which = torch.tensor(chosen[:samples])
        batch = min(len(which), _ROWS_AT_ONCE[self._device.type])
        tokens, _ = self._decoding(from_tree(tree), batch, seed).run(which)
        return [
            {
                "id": self._prompts[i].id,
                "prompt": self._prompts[i].message,
                "answer": self._text(row),
            }
            for i, row in zip(which.tolist(), tokens, strict=True)
        ]

    @cached_property
    def _greedy(self) -> Tensor:
        """What plain greedy decoding in float32 answers, [n, N]."""
        plain = from_tree({"sampling": _GREEDY})
        batch = min(len(self._prompts), _ROWS_AT_ONCE[self._device.type])
        decoding = Decoding(
            self._exact, plain.decoder, plain.sampling, self._geometry, batch=batch, seed=0,
            graphs=False,
        )  # fmt: skip
        return decoding.run(torch.arange(len(self._prompts)))[0]

    @cached_property
    def _of_plain(self) -> list[Answer]:
        return self._judged(self._greedy)

    def _judged(self, tokens: Tensor) -> list[Answer]:
        """Answers [n, N] to the first n prompts."""
        n = len(tokens)
        return judged(self._exact, self._tokenizer, self._prompts[:n], tokens, self._greedy[:n])

    @cached_property
    def _exact(self) -> TextTarget:
        """The untouched target, in float32."""
        return self._target_in(torch.float32)

    def _target_in(self, dtype: torch.dtype) -> TextTarget:
        def model_in(model: Any) -> Any:
            # A copy: the next target may want the weights as exact as they were.
            return model if model is None or dtype == model.dtype else copy.deepcopy(model)

        return TextTarget(
            model_in(self._model), self._contexts, length=self._tokens, ends=self._ends,
            device=self._device, dtype=dtype, draft=model_in(self._draft),
            trigrams=lambda: self._trigrams,
            passages=lambda: passages_of(self._corpus, self._tokenizer),
        )  # fmt: skip

    def _kept(self, decoder: Speculative) -> Tensor | None:
        """The layers that run, if any is left out; of the model in float32, whatever is run."""
        if not isinstance(decoder, Shortened):
            return None
        kept = decoder.depth.kept(self._exact)
        return None if kept.all() else kept

    @cached_property
    def _trigrams(self) -> Trigrams:
        vocabulary = int(self._model.config.get_text_config().vocab_size)
        return trigrams_of(self._corpus, self._tokenizer, vocabulary)

    def _decoding(self, candidate: Component, batch: int, seed: int) -> Decoding:
        dtype = dtype_of(candidate, self._device)
        if dtype == torch.float32:
            target = self._exact
        else:
            if self._target is None or self._target.dtype != dtype:
                self._target = self._target_in(dtype)
            target = self._target
        decoder = _decoder(candidate)
        kept = self._kept(decoder)
        if kept is not None:
            target = ShortenedTarget(target, kept)
        return Decoding(
            target, decoder, candidate.sampling, self._geometry, batch=batch, seed=seed,
            graphs=False,
        )  # fmt: skip

    @cached_property
    def _geometry(self) -> Geometry:
        rows = self._model.get_input_embeddings().weight.detach()
        return Geometry(rows, rows)

    def _geometry_of(self, tokens: Tensor) -> Geometry:
        rows = self._model.get_input_embeddings().weight.detach()[tokens].cpu()
        return Geometry(rows, rows)

    def _text(self, row: Tensor) -> str:
        text: str = self._tokenizer.decode(answer_of(row, self._ends), skip_special_tokens=True)
        return text

    def _shown(self, tokens: Tensor) -> list[list[str]]:
        """One prompt of each kind with its answer, for people to look at."""
        kinds = [prompt.kind for prompt in self._prompts[: len(tokens)]]
        first = [kinds.index(kind) for kind in dict.fromkeys(kinds)]
        return [[kinds[i], self._prompts[i].message, self._text(tokens[i])] for i in first]


def _digest(layers: Tensor) -> str:
    told = f"{list(layers.shape)}".encode() + np.packbits(layers.numpy()).tobytes()
    return xxhash.xxh3_128_hexdigest(told)


def _decoder(candidate: Component) -> Speculative:
    decoder = candidate.decoder
    if not isinstance(decoder, Speculative):
        raise BadInput(f"text is decoded with decoders/speculative, not {decoder.tag()}.")
    return decoder
