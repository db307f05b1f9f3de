"""The law level: what a decoder does to a token, computed on recorded rows before it runs.

For a rule that tests one draft at a time the law of a verified position is
`q*a + (1 - E_q a) * residual`. It is the target's exactly if `q*a <= p` and
`(1 - E_q a) * residual = p - q*a` at every token: both are computed, nothing is believed. Joint
rules have no such formula; they claim to be lossless with the digest of the source that passed the
conformance suite, and the claim is void once that source changes.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
import xxhash
from numpy.typing import NDArray
from torch import Tensor

from paretoken.evaluators.components.decoders.speculative import Speculative
from paretoken.evaluators.engine.geometry import Geometry
from paretoken.evaluators.engine.laws import one_hot
from paretoken.evaluators.engine.sampling import Sampling
from paretoken.evaluators.engine.threshold import Threshold
from paretoken.evaluators.engine.verifier import PerToken, Verifier
from paretoken.evaluators.recorded_rows import RecordedRows

# Laws are computed in float64, where sums over a vocabulary round by 1e-13 at most; the least
# relaxation that any knob allows moves far more than this.
TOLERANCE = 1e-9
# Rows whose acceptance is computed at once: groups of 50 among 16,384 tokens then take 100 MB.
_ROWS_AT_ONCE = 16

# p, q: [R, V] target and draft laws; tokens: [R, K]; slot: [R, 1]; where the rule asks the model,
# its own laws [R, V] behind. Returns [R, K] in [0, 1].
Acceptance = Callable[..., Tensor]
# p, q: [R, V]; slot: [R, 1]. Returns the law after a rejection, [R, V].
AfterRejection = Callable[[Tensor, Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class Law:
    """A decoder's law on recorded rows.

    target: the target's laws. rule: acceptance and residual; empty where nothing is verified.
    lossless, evidence: whether the emitted law is the target's, and how that is known.
    """

    target: tuple[NDArray[np.float64], ...]
    rule: tuple[NDArray[np.float64], ...]
    lossless: bool
    evidence: Mapping[str, Any]


def law_of(decoder: Speculative, sampling: Sampling, geometry: Geometry, rows: RecordedRows) -> Law:
    """The law of a decoder's components under a sampling rule. geometry: on the CPU."""
    p, q = laws_on(sampling, rows)
    own = rows.logits[0].softmax(-1) if decoder.rule.asks_model else None
    drafts = decoder.drafter.most - 1
    rule = decoder.rule
    if drafts == 0:
        return Law((p.numpy(),), (), True, {"lossless": "nothing is drafted"})
    if not isinstance(rule, PerToken):
        return _claimed(rule, p)

    def accept(
        p: Tensor, q: Tensor, tokens: Tensor, slot: Tensor, own: Tensor | None = None
    ) -> Tensor:
        return rule.acceptance(p, q, tokens, slot, geometry, own)

    def after(p: Tensor, q: Tensor, slot: Tensor) -> Tensor:
        everything = torch.arange(p.shape[-1]).expand_as(p)

        def ratio() -> Tensor:
            found = rule.ratio(p, q, everything, slot, geometry)
            return torch.where(p > 0, found.nan_to_num(nan=0.0), 0.0)

        return decoder.residual.law(p, q, ratio)

    law = per_token_law(accept, after, p, q, drafts, own)
    if isinstance(rule, Threshold) and own is not None:
        # Yes and no alone would not tell two thresholds apart that no recorded row lies between.
        everything = torch.arange(own.shape[-1]).expand_as(own)
        law = replace(law, rule=(*law.rule, rule.margin(own, everything).numpy()))
    return law


def laws_on(sampling: Sampling, rows: RecordedRows) -> tuple[Tensor, Tensor]:
    """Target and draft laws [R, V] of a sampling rule on recorded rows, in float64."""
    conditional, unconditional, draft, index = rows.logits

    def law(logits: Tensor) -> Tensor:
        guide = unconditional.unsqueeze(0) if sampling.guided else None
        return sampling.laws(logits.unsqueeze(0), guide, index.unsqueeze(0)).squeeze(0)

    return law(conditional), law(draft)


@torch.inference_mode()
def per_token_law(
    accept: Acceptance,
    after: AfterRejection,
    p: Tensor,
    q: Tensor,
    drafts: int,
    own: Tensor | None = None,
) -> Law:
    """The law of any rule that tests one draft at a time, a component's or a plain function's.

    p, q: [R, V] target and draft laws. drafts: how many slots a window verifies; rows stand at all
    of them in turn. Each row is also tried with a draft that is certain: of the target's likeliest
    token, and of one anywhere. own: the model's own laws [R, V], for rules that ask for them.
    """
    rows, vocabulary = p.shape
    everything = torch.arange(vocabulary).expand(rows, -1)
    anywhere = torch.arange(rows) * 7919 % vocabulary
    slot = (torch.arange(rows) % drafts).unsqueeze(-1)
    accepted, residual, apart = [], [], 0.0
    for start in range(0, rows, _ROWS_AT_ONCE):
        part = slice(start, start + _ROWS_AT_ONCE)
        likeliest = p[part].argmax(-1, keepdim=True)
        drawn = [(q[part], everything[part])]
        for sure in (likeliest, anywhere[part].unsqueeze(-1)):
            drawn.append((one_hot(sure.squeeze(-1), vocabulary, p.dtype), sure))
        for q_part, tokens in drawn:  # acceptance counts only where there are drafts
            asked = () if own is None else (own[part],)
            found = accept(p[part], q_part, tokens, slot[part], *asked)
            a = torch.zeros_like(q_part).scatter(-1, tokens, found)
            a = torch.where(q_part > 0, a, 0.0)
            kept = q_part * a
            refused = (1.0 - kept.sum(-1, keepdim=True)).clamp_min(0.0)
            # What a rejection leads to matters as often as there is one.
            rest = torch.where(refused > TOLERANCE, after(p[part], q_part, slot[part]), 0.0)
            apart = max(apart, float((kept - p[part]).max()))
            apart = max(apart, float((refused * rest - (p[part] - kept)).abs().max()))
            accepted.append(a)
            residual.append(rest)
    lossless = apart <= TOLERANCE
    evidence = {
        "lossless": "computed" if lossless else "no",
        "largest_difference": apart,
        "rows": 3 * rows,
        "tolerance": TOLERANCE,
    }
    return Law(
        (p.numpy(),), (torch.cat(accepted).numpy(), torch.cat(residual).numpy()), lossless, evidence
    )


def _claimed(rule: Verifier, p: Tensor) -> Law:
    """The law of a joint rule: the target's, if it is the rule that passed the suite."""
    source = source_digest(type(rule))
    holds = source == rule.passed
    evidence = {
        "lossless": "claimed" if holds else "no",
        "rule": type(rule).__name__,
        "source": source,
        "passed": rule.passed,
    }
    marks = np.frombuffer(bytes.fromhex(source), dtype=np.uint8).astype(np.float64)
    return Law((p.numpy(),), (marks,), holds, evidence)


def source_digest(rule: type[Verifier]) -> str:
    """xxh3-64 of the source of a joint rule's methods that decide its law."""
    parts = (inspect.getsource(getattr(rule, name)) for name in rule.decided_by)
    return xxhash.xxh3_64_hexdigest("".join(parts).encode())
