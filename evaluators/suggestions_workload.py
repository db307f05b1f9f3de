"""The suggestions workload: several ways to go on with a prompt, judged as a set and timed."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from paretoken.evaluators.components.samplings.standard import Standard
from paretoken.evaluators.engine.suggest import Suggesting
from paretoken.evaluators.engine.suggester import Suggester
from paretoken.evaluators.language_workload import LanguageWorkload
from paretoken.evaluators.metrics.suggestions import (
    OBJECTIVES,
    SuggestionSet,
    check_different,
    quality,
)  # fmt: skip
from paretoken.evaluators.runtime import at_batch
from paretoken.evaluators.suggestions_speed import SUGGESTIONS_PER_S, time_suggestions
from paretoken.evaluators.text_judge import judged_one
from paretoken.evaluators.text_speed import TIMED_SEED
from paretoken.spaces.candidate import from_tree, to_tree
from paretoken.spaces.canonical import canonical
from paretoken.spaces.component import Component
from paretoken.spaces.errors import MeasurementFailed
from paretoken.spaces.workload import Behaviour, Observed, Report, Sampled


class SuggestionsWorkload(LanguageWorkload):
    """wanted: suggestions for each prompt; for the others see `LanguageWorkload`."""

    objectives = (SUGGESTIONS_PER_S, OBJECTIVES["nll"])

    def __init__(self, *args: Any, wanted: int, **options: Any) -> None:
        super().__init__(*args, **options)
        self._wanted = wanted

    def plain(self) -> Component:
        """Nucleus sampling, as often as suggestions are wanted."""
        return at_batch(from_tree({"decoder": {"is": "decoders/nucleus"}}), self._batch)

    def behaviour(self, candidate: Component, recording: bytes) -> Behaviour:
        """Settings of the set, and in place of those that only rank tokens, how they are ranked."""
        begun = time.perf_counter()
        candidate = at_batch(candidate, self._batch)
        suggester: Any = canonical(suggester_of(candidate).exactly(self._wanted))
        conditional, *_ = self._recorded(recording).logits
        tree = to_tree(suggester)
        settings = {name: value for name, value in tree.items() if name not in suggester.scored}
        if suggester.asks_corpus:
            settings["corpus"] = self._answering.ngrams.digest
        return Behaviour(
            context=self._context_of(candidate),
            target=(conditional.softmax(-1).numpy(),),
            drafting={"suggester": settings, "wanted": self._wanted},
            rule=(suggester.scores(conditional).numpy(),),
            lossless=False,
            evidence={"lossless": "no", "suggester": tree["is"], "suggestions": self._wanted},
            conditions={"prompts": self._asked, "tokens": self._answering.tokens},
            runtime=to_tree(candidate)["runtime"],
            seconds=time.perf_counter() - begun,
        )

    def sample(self, candidate: Component, samples: int, seed: int, report: Report) -> Sampled:
        """Suggestions for the first `samples` prompts, which are of all kinds in turn."""
        begun = time.perf_counter()
        report("preparing", 0.0)
        batch = self._answering.rows_for(samples)
        tokens, trace = self._suggesting(candidate, batch, seed).run(
            torch.arange(samples),
            lambda done, of: report(f"quality: {done} of {of} prompts", 0.6 * done / of),
        )
        seconds = time.perf_counter() - begun
        return Sampled(tokens.numpy(), trace.arrays(), seconds, (trace, batch))

    def judge(self, sampled: Sampled, report: Report) -> Observed:
        """What the target, in float32, thinks of each suggestion in a clean pass; and of the set.

        Scores by which suggestions were found are not used: those of superpositions are rough.
        """
        begun = time.perf_counter()
        trace, batch = sampled.payload
        tokens = torch.from_numpy(sampled.tokens)
        sets = []
        for i, rows in enumerate(tokens):
            report(f"quality: judging {i + 1} of {len(tokens)}", 0.6 + 0.4 * i / len(tokens))
            sets.append(self._judged(i, rows))
        check_different(sets)
        shown = self._one_of_each_kind(len(tokens))
        detail = {
            "batch": batch,
            "decode_seconds": trace.seconds,
            "samples_text": [
                [self._prompts[i].kind, self._prompts[i].message, "\n".join(self._told(tokens[i]))]
                for i in shown
            ],
        }
        comparable = f"{self._comparable(len(sets))}|{self._wanted} suggestions"
        seconds = sampled.seconds + time.perf_counter() - begun
        return Observed(quality(sets, comparable), seconds, detail)

    def speed(self, candidate: Component, report: Report) -> Observed:
        """Suggestions per second on one prompt of each kind, at the candidate's batch."""
        begun = time.perf_counter()
        candidate = at_batch(candidate, self._batch)
        batch = int(candidate.runtime.batch)
        report("preparing", 0.0)
        found = time_suggestions(
            self._suggesting(candidate, batch, TIMED_SEED),
            torch.tensor(self._timed(batch)),
            wanted=self._wanted,
            batch=batch,
            device=self._device,
            report=report,
        )
        return replace(found, seconds=time.perf_counter() - begun)

    def generate(
        self,
        tree: Mapping[str, Any],
        classes: tuple[int, ...],
        samples: int,
        seed: int,
        study_seed: int,
        report: Report,
    ) -> list[dict[str, Any]]:
        """Suggestions for prompts `classes` (all if none are named), `samples` at most."""
        which = self._chosen(classes, samples)
        batch = self._answering.rows_for(len(which))
        tokens, _ = self._suggesting(from_tree(tree), batch, seed).run(
            which, lambda done, of: report(f"{done} of {of} prompts", done / of)
        )
        return [
            {
                "id": self._prompts[i].id,
                "prompt": self._prompts[i].message,
                "suggestions": self._told(rows),
            }
            for i, rows in zip(which.tolist(), tokens, strict=True)
        ]

    def _suggesting(self, candidate: Component, batch: int, seed: int) -> Suggesting:
        return Suggesting(
            self._answering.target_of(candidate), suggester_of(candidate), wanted=self._wanted,
            batch=batch, seed=seed, ngrams=lambda: self._answering.ngrams,
        )  # fmt: skip

    def _judged(self, prompt: int, rows: Tensor) -> SuggestionSet:
        answering = self._answering
        asked, plain = answering.contexts[prompt].tokens, answering.greedy[prompt]
        answers = (
            judged_one(
                answering.exact, answering.tokenizer, self._prompts[prompt], asked, row, plain
            )
            for row in rows
        )
        return SuggestionSet(tuple(answers), tuple(self._told(rows)))

    def _told(self, rows: Tensor) -> list[str]:
        return [self._answering.text(row) for row in rows]


def suggester_of(candidate: Component) -> Suggester:
    """The decoder of a candidate; fails the candidate where suggestions cannot come from it."""
    decoder = candidate.decoder
    if not isinstance(decoder, Suggester):
        raise MeasurementFailed(
            "unsupported",
            f"{decoder.tag()} gives one answer to a prompt: suggestions come from "
            "decoders/superposed, beam_search, branching or nucleus (--set decoder=superposed).",
        )
    if canonical(candidate.sampling) != Standard():
        raise MeasurementFailed(
            "unsupported",
            "decoders of suggestions have laws of their own, and the candidate's sampling would do "
            "nothing: leave it as it is, and set superposed.temperature or nucleus.temperature.",
        )
    return decoder
