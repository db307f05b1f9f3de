"""Branching: the likeliest first tokens, each continued greedily.

Suggestions differ from their first token on, in the order of its probability.
Equivalence: one suggestion is greedy decoding.
Source: Wang and Zhou, "Chain-of-thought reasoning without prompting" (2024, arXiv:2402.10200), its
decoding.
"""

from __future__ import annotations

from torch import Tensor

from paretoken.evaluators.engine.suggester import Request, Suggester, Writing
from paretoken.evaluators.engine.written import Written


class Branching(Suggester):
    """Begin differently, go on as the model likes best."""

    def rows(self, wanted: int) -> int:
        return wanted

    def scores(self, logits: Tensor) -> Tensor:
        return logits.softmax(-1)

    def begin(self, request: Request) -> Writing:
        return Written(request, _next)


def _next(logits: Tensor, step: int) -> Tensor:
    return logits[:, 0].topk(logits.shape[1]).indices if step == 0 else logits.argmax(-1)


plugin = Branching
