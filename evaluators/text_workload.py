"""The text workload: answer prompts with a candidate, judge the answers, time the answering."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from paretoken.evaluators.language_workload import LanguageWorkload
from paretoken.evaluators.law import law_of
from paretoken.evaluators.metrics.by_sample import Said, TextMetric, identities, scored
from paretoken.evaluators.metrics.text import OBJECTIVES, Answer, check_repetition, quality
from paretoken.evaluators.runtime import at_batch
from paretoken.evaluators.shortening.shortenings import digest_of_layers
from paretoken.evaluators.text_answering import GREEDY, decoder_of
from paretoken.evaluators.text_judge import judged
from paretoken.evaluators.text_speed import TIMED_SEED, TOKENS_PER_S, time_answers
from paretoken.spaces.candidate import from_tree, to_tree
from paretoken.spaces.component import Component
from paretoken.spaces.workload import Behaviour, Observed, Report, Sampled


class TextWorkload(LanguageWorkload):
    """Every prompt is answered once; for other arguments see `LanguageWorkload`.

    metrics: measured beside its own quantities.
    """

    objectives = (TOKENS_PER_S, OBJECTIVES["nll"])

    def __init__(self, *model: Any, metrics: Sequence[TextMetric] = (), **given: Any) -> None:
        super().__init__(*model, **given)
        self._metrics = tuple(metrics)

    def plain(self) -> Component:
        """Plain greedy decoding at the batch that speed is measured at."""
        return at_batch(from_tree({"sampling": GREEDY}), self._batch)

    def behaviour(self, candidate: Component, recording: bytes) -> Behaviour:
        begun = time.perf_counter()
        candidate = at_batch(candidate, self._batch)
        decoder = decoder_of(candidate)
        rows = self._recorded(recording)
        kept = torch.from_numpy(rows.vocabulary)
        law = law_of(decoder, candidate.sampling, self._answering.geometry_of(kept), rows)
        evidence, short = law.evidence, self._answering.shortenings.of_target(decoder)
        tree = to_tree(candidate)
        drafting = {part: tree["decoder"][part] for part in ("drafter", "length")}
        if decoder.drafter.asks_corpus:
            drafting["corpus"] = self._answering.trigrams.digest
        if decoder.drafter.asks_head:
            drafting["head"] = self._answering.head_digest
        draft = self._answering.shortenings.of_draft(decoder)
        if draft is not None:  # equal drafts, however they are come by: settings do not say which
            chosen_by = ("depth", "skipped", "spread")
            of_drafter = {k: v for k, v in drafting["drafter"].items() if k not in chosen_by}
            drafting["drafter"] = {**of_drafter, "layers": digest_of_layers(draft)}
        conditions: dict[str, Any] = {"prompts": self._asked, "tokens": self._answering.tokens}
        if self._metrics:
            conditions["metrics"] = identities(self._metrics)
        context = self._context_of(candidate)
        if tree["sampling"].get("top_k", 0) >= len(kept):
            context["sampling"] = tree["sampling"]  # the recorded tokens cannot tell such apart
        if short is not None:
            # Another target, known exactly: rules that follow it share its law, not the model's.
            context["layers"] = digest_of_layers(short)
            evidence = {"lossless": "no", "target": "layers are left out", "rule": evidence}
        return Behaviour(
            context=context,
            target=law.target,
            drafting=drafting,
            rule=law.rule,
            lossless=law.lossless,
            evidence=evidence,
            conditions=conditions,
            runtime=tree["runtime"],
            seconds=time.perf_counter() - begun,
        )

    def prepare(self, candidate: Component, report: Report) -> str:
        """Have learnt what the candidate's layers are left out by."""
        return self._answering.shortenings.learn(decoder_of(candidate), report)

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
        comparable = self._comparable(len(answers))
        found = quality(answers, comparable) + scored(self._metrics, self._said(tokens), comparable)
        return Observed(found, sampled.seconds + time.perf_counter() - begun, detail)

    def speed(self, candidate: Component, report: Report) -> Observed:
        """Tokens per second on one prompt of each kind, at the candidate's batch."""
        begun = time.perf_counter()
        candidate = at_batch(candidate, self._batch)
        batch = int(candidate.runtime.batch)
        report("preparing", 0.0)
        timed = self._timed(batch)
        found = time_answers(
            self._answering.decoding(candidate, batch, TIMED_SEED),
            torch.tensor(timed),
            [self._prompts[i].kind for i in timed],
            batch=batch,
            ends=self._answering.ends,
            device=self._device,
            report=report,
        )
        layers = self._answering.shortenings.layers_run(decoder_of(candidate))
        seconds = time.perf_counter() - begun
        return replace(found, quantities=(*found.quantities, layers), seconds=seconds)

    def generate(
        self,
        tree: Mapping[str, Any],
        classes: tuple[int, ...],
        samples: int,
        seed: int,
        study_seed: int,
        report: Report,
    ) -> list[dict[str, str]]:
        """Answers to prompts `classes` (all if none are named), as texts, `samples` at most."""
        which = self._chosen(classes, samples)
        batch = self._answering.rows_for(len(which))
        candidate = from_tree(tree)
        self.prepare(candidate, report)
        decoding = self._answering.decoding(candidate, batch, seed)
        tokens, _ = decoding.run(
            which, 0, lambda done, of: report(f"{done} of {of} answers", done / of)
        )
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

    def _said(self, tokens: Tensor) -> list[Said]:
        """Answers [n, N] to the first n prompts, for metrics."""
        if not self._metrics:  # whoever asks for none does not wait for words
            return []
        text, plain = self._answering.text, self._answering.greedy
        return [
            Said(prompt, text(row), text(usual))
            for prompt, row, usual in zip(self._prompts, tokens, plain, strict=False)
        ]

    def _shown(self, tokens: Tensor) -> list[list[str]]:
        """One prompt of each kind with its answer, for people to look at."""
        shown = self._one_of_each_kind(len(tokens))
        asked = [self._prompts[i] for i in shown]
        texts = map(self._answering.text, tokens[shown])
        return [[p.kind, p.message, text] for p, text in zip(asked, texts, strict=True)]
