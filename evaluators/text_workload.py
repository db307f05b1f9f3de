"""The text workload: answer prompts with a candidate, judge the answers, time the answering."""

from __future__ import annotations

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

from paretoken.evaluators.environment import environment
from paretoken.evaluators.law import law_of
from paretoken.evaluators.metrics.text import OBJECTIVES, Answer, check_repetition, quality
from paretoken.evaluators.models.draft_head import DraftHead
from paretoken.evaluators.models.weights import digest_of
from paretoken.evaluators.recorded_rows import RecordedRows
from paretoken.evaluators.runtime import at_batch, dtype_of, precision
from paretoken.evaluators.text_answering import GREEDY, Answering, decoder_of
from paretoken.evaluators.text_judge import judged, logits_of
from paretoken.evaluators.text_prompts import Prompt
from paretoken.evaluators.text_speed import TIMED_SEED, TOKENS_PER_S, time_answers
from paretoken.spaces.candidate import from_tree, to_tree
from paretoken.spaces.component import Component
from paretoken.spaces.errors import BadInput
from paretoken.spaces.workload import Behaviour, Observed, Report, Sampled

# Recorded rows: of so many prompts, every so many-th of so many tokens, on the likeliest tokens.
_ROWS_PROMPTS, _ROWS_TOKENS, _ROWS_STEP, _ROWS_VOCABULARY = 8, 17, 4, 4096


class TextWorkload:
    """A causal language model with its prompts; for the arguments see `Answering`.

    batch: at which speed is measured; None for the candidate's own.
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
        head: DraftHead | None = None,
    ) -> None:
        self._prompts, self._device, self._batch = tuple(prompts), device, batch
        self.samples = len(self._prompts)
        self._answering = Answering(
            model, tokenizer, prompts, device=device, tokens=tokens, corpus=corpus, draft=draft,
            head=head,
        )  # fmt: skip
        self._identity = digest_of(model, *([] if draft is None else [draft]))
        contexts, ends = self._answering.contexts, self._answering.ends
        asked = (part for c in contexts for part in (c.tokens.tolist(), c.source))
        self._asked = xxhash.xxh3_128_hexdigest(" ".join(map(str, (*asked, ends))).encode())
        self._rows: tuple[bytes, RecordedRows] | None = None
        self.environment = environment(device)

    def plain(self) -> Component:
        """Plain greedy decoding at the batch that speed is measured at."""
        return at_batch(from_tree({"sampling": GREEDY}), self._batch)

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

    def behaviour(self, candidate: Component, recording: bytes) -> Behaviour:
        begun = time.perf_counter()
        candidate = at_batch(candidate, self._batch)
        decoder = decoder_of(candidate)
        if self._rows is None or self._rows[0] != recording:
            self._rows = (recording, RecordedRows.load(recording))
        rows = self._rows[1]
        kept = torch.from_numpy(rows.vocabulary)
        law = law_of(decoder, candidate.sampling, self._answering.geometry_of(kept), rows)
        evidence, layers = law.evidence, self._answering.kept(decoder)
        tree = to_tree(candidate)
        drafting = {part: tree["decoder"][part] for part in ("drafter", "length")}
        if decoder.drafter.asks_corpus:
            drafting["corpus"] = self._answering.trigrams.digest
        if decoder.drafter.asks_head:
            drafting["head"] = self._answering.head_digest
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
            conditions={"prompts": self._asked, "tokens": self._answering.tokens},
            runtime=tree["runtime"],
            seconds=time.perf_counter() - begun,
        )

    def sample(self, candidate: Component, samples: int, seed: int, report: Report) -> Sampled:
        """Answers to the first `samples` prompts, which are of all kinds in turn."""
        begun = time.perf_counter()
        report("preparing", 0.0)
        batch = self._answering.rows_for(samples)
        decoding = self._answering.decoding(candidate, batch, seed)
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
        comparable = f"{self._identity[:12]}|{prompts}|{self._answering.tokens} tokens"
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
            self._answering.decoding(candidate, batch, TIMED_SEED),
            torch.tensor(timed),
            [kinds[i] for i in timed],
            batch=batch,
            ends=self._answering.ends,
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
        batch = self._answering.rows_for(len(which))
        tokens, _ = self._answering.decoding(from_tree(tree), batch, seed).run(which)
        return [
            {
                "id": self._prompts[i].id,
                "prompt": self._prompts[i].message,
                "answer": self._answering.text(row),
            }
            for i, row in zip(which.tolist(), tokens, strict=True)
        ]

    @cached_property
    def _of_plain(self) -> list[Answer]:
        return self._judged(self._answering.greedy)

    def _judged(self, tokens: Tensor) -> list[Answer]:
        """Answers [n, N] to the first n prompts."""
        n = len(tokens)
        return judged(
            self._answering.exact,
            self._answering.tokenizer,
            self._prompts[:n],
            tokens,
            self._answering.greedy[:n],
        )

    def _shown(self, tokens: Tensor) -> list[list[str]]:
        """One prompt of each kind with its answer, for people to look at."""
        kinds = [prompt.kind for prompt in self._prompts[: len(tokens)]]
        first = [kinds.index(kind) for kind in dict.fromkeys(kinds)]
        return [
            [kinds[i], self._prompts[i].message, self._answering.text(tokens[i])] for i in first
        ]


def _digest(layers: Tensor) -> str:
    told = f"{list(layers.shape)}".encode() + np.packbits(layers.numpy()).tobytes()
    return xxhash.xxh3_128_hexdigest(told)
