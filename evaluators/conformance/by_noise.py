"""Rules that decide by shared noise: two tokens behind one draft, against the target's law.

The noise of a position is fixed, so drafts may depend on it in any way; a rule has to emit the
target's law whatever they are.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from paretoken.evaluators.conformance.enumerable import p_value_of
from paretoken.evaluators.engine.geometry import Geometry
from paretoken.evaluators.engine.laws import draw_with_noise
from paretoken.evaluators.engine.proposal import Proposal
from paretoken.evaluators.engine.verifier import Chance

V, ROWS = 4, 100_000
FIRST = torch.tensor([0.4, 0.3, 0.2, 0.1], dtype=torch.float64)
# The target's law of the second token depends on the first, as a model's does.
SECOND = torch.tensor(
    [[0.1, 0.2, 0.3, 0.4], [0.25] * 4, [0.7, 0.1, 0.1, 0.1], [0.0, 0.5, 0.5, 0.0]],
    dtype=torch.float64,
)


def noise(seed: int, *size: int) -> Tensor:
    """Gumbel noise."""
    generator = torch.Generator().manual_seed(seed)
    return -(-torch.rand(*size, generator=generator, dtype=torch.float64).log()).log()


# A way to come by a draft [ROWS], given the noise [ROWS, V] of its position.
Drafting = Callable[[Tensor], Tensor]
DRAFTS: dict[str, Drafting] = {
    "drafts of the same noise": lambda gumbel: gumbel.argmax(-1),
    "drafts of other noise": lambda gumbel: noise(1, ROWS, V).argmax(-1),
    "always the same draft": lambda gumbel: torch.full((ROWS,), 2),
    "the likeliest refused": lambda gumbel: gumbel.argmin(-1),
}


def emitted(rule: Any, drafting: Drafting) -> Tensor:
    """The first two tokens [ROWS, 2] that a rule lets through.

    Where the draft was refused, the second is drawn in a round of its own.
    """
    gumbel = noise(0, ROWS, 2, V)
    draft = drafting(gumbel[:, 0])
    laws = torch.stack([FIRST.expand(ROWS, -1), SECOND[draft]], dim=1)
    proposal = Proposal(
        draft.unsqueeze(1),
        torch.full((ROWS, 1, V), 1 / V, dtype=torch.float64),
        torch.ones(ROWS, 1, dtype=torch.bool),
        (-1,),
    )
    geometry = Geometry(torch.eye(V), torch.eye(V))
    chance = Chance(torch.zeros(ROWS, 1), gumbel, torch.arange(2).expand(ROWS, -1))
    verdict = rule.select(laws, proposal, None, chance, geometry)
    kept = verdict.accepted == 1
    token = (
        verdict.fresh.gather(1, verdict.accepted.unsqueeze(1)).squeeze(1)
        if verdict.law is None
        else verdict.law.argmax(-1)
    )
    one = torch.where(kept, draft, token)
    following = draw_with_noise(SECOND[one], gumbel[:, 1])
    return torch.stack([one, torch.where(kept, token, following)], dim=1)


def p_value(tokens: Tensor) -> float:
    """Pearson's chi-square p-value of tokens [ROWS, 2] under the target's law."""
    seen = torch.bincount(tokens[:, 0] * V + tokens[:, 1], minlength=V**2)
    return p_value_of(seen, (FIRST.unsqueeze(1) * SECOND).flatten())
