"""Rules that relax: their emitted law is the one that their formula says, and knobs mean what
they say."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch

from paretoken.evaluators.components.residuals.exact import Exact
from paretoken.evaluators.components.residuals.matched import Matched
from paretoken.evaluators.components.residuals.mentored import Mentored
from paretoken.evaluators.components.verifiers.amplified import Amplified
from paretoken.evaluators.components.verifiers.lenient import Lenient
from paretoken.evaluators.components.verifiers.top_beta import TopBeta
from paretoken.evaluators.components.verifiers.typical import Typical
from paretoken.evaluators.engine.geometry import Geometry
from paretoken.evaluators.engine.proposal import Proposal
from paretoken.evaluators.engine.verifier import Chance, PerToken
from paretoken.spaces.candidate import from_tree
from paretoken.spaces.canonical import canonical

VOCABULARY, ROWS = 5, 200_000
GEOMETRY = Geometry(torch.eye(VOCABULARY), torch.eye(VOCABULARY))
P = torch.tensor([0.5, 0.25, 0.15, 0.1, 0.0], dtype=torch.float64)
Q = torch.tensor([0.1, 0.4, 0.2, 0.2, 0.1], dtype=torch.float64)


def emitted(rule: PerToken, residual: Any, p: Any, q: Any, own: Any) -> torch.Tensor:
    """How often each token is emitted, [V], over many windows of one draft of law q."""
    generator = torch.Generator().manual_seed(0)
    drafts = torch.multinomial(q.expand(ROWS, -1), 1, generator=generator)
    proposal = Proposal(drafts, q.expand(ROWS, 1, -1), torch.ones(ROWS, 1, dtype=torch.bool), (-1,))
    chance = Chance(
        torch.rand(ROWS, 1, generator=generator, dtype=torch.float64),
        own=own.expand(ROWS, 2, -1),
    )
    verdict = rule.select(p.expand(ROWS, 2, -1), proposal, residual, chance, GEOMETRY)
    kept = (verdict.accepted == 1).unsqueeze(-1)
    draft = torch.nn.functional.one_hot(drafts.squeeze(-1), VOCABULARY).double()
    return torch.where(kept, draft, verdict.law).mean(0)


# Typical keeps p >= min(0.3, 0.9 exp(-H)); top-beta 2 keeps the best two if within 0.5 nats.
@pytest.mark.parametrize(
    ("rule", "stands"),
    [
        (Typical(epsilon=0.3, delta=0.9), [1, 0, 0, 0, 0]),
        (Typical(epsilon=0.12, delta=0.9), [1, 1, 1, 0, 0]),
        (TopBeta(beta=2, tau=3.0), [1, 1, 0, 0, 0]),
        (TopBeta(beta=0, tau=1.3), [1, 1, 1, 0, 0]),
        (TopBeta(beta=4, tau=0.5), [1, 0, 0, 0, 0]),
        (Lenient(lenience=0.4), [1, 1, 0, 0, 0]),
        (Lenient(lenience=0.2), [1, 1, 1, 1, 0]),
    ],
)
@pytest.mark.parametrize("greedy", [True, False])
def test_thresholds_keep_what_they_say_and_emit_the_law_of_the_formula(
    rule: PerToken, stands: list[int], greedy: bool
) -> None:
    own = P
    p = torch.nn.functional.one_hot(P.argmax(), VOCABULARY).double() if greedy else P
    a = torch.tensor(stands, dtype=torch.float64)
    rest = (p - Q).clamp_min(0)
    expected = Q * a + (1 - (Q * a).sum()) * rest / rest.sum()
    found = emitted(rule, Exact(), p, Q, own)
    # Binomial deviation of a share over ROWS windows, five times.
    assert (found - expected).abs().max() < 5 * math.sqrt(0.25 / ROWS)
    assert (expected - p).abs().max() > 0.01 or stands == [1, 0, 0, 0, 0]


def test_tau_and_beta_are_monotone() -> None:
    generator = torch.Generator().manual_seed(3)
    own = torch.randn(50, VOCABULARY, generator=generator).double().softmax(-1)
    every = torch.arange(VOCABULARY).expand_as(own)
    kept = [
        [int((TopBeta(beta=b, tau=t).margin(own, every) >= 0).sum()) for b in (1, 2, 4, 0)]
        for t in (0.0, 0.5, 1.0, 3.0)
    ]
    assert kept == [sorted(row) for row in kept]
    assert [list(c) for c in zip(*kept, strict=True)] == [
        sorted(c) for c in zip(*kept, strict=True)
    ]
    assert kept[0] == [50] * 4 and [row[0] for row in kept] == [50] * 4


def test_lenience_is_top_beta_with_all_tokens() -> None:
    tree = {
        "decoder": {
            "is": "decoders/speculative",
            "drafter": {"is": "drafters/aggressive"},
            "verifier": {"is": "verifiers/lenient", "lenience": 0.5},
        }
    }
    rule = canonical(from_tree(tree)).decoder.verifier
    assert (rule.tag(), rule.beta) == ("verifiers/top_beta", 0)
    assert rule.tau == pytest.approx(math.log(2))


def divergence(law: torch.Tensor, p: torch.Tensor) -> torch.Tensor:
    return (law * (law / p).log()).nan_to_num(nan=0.0).sum(-1)


@pytest.mark.parametrize("factor", [1.0, 1.5, 3.0, 10.0])
def test_the_mentored_law_is_clipped_and_the_nearest_of_its_acceptance(factor: float) -> None:
    generator = torch.Generator().manual_seed(0)
    p = (1.5 * torch.randn(400, VOCABULARY, generator=generator).double()).softmax(-1)
    q = (1.5 * torch.randn(400, VOCABULARY, generator=generator).double()).softmax(-1)
    rule = Amplified(factor=factor)
    every = torch.arange(VOCABULARY).expand_as(p)

    def ratio() -> torch.Tensor:
        return rule.ratio(p, q, every, torch.tensor([[0]]), GEOMETRY)

    kept = q * ratio().clamp(max=1.0)
    refused = 1 - kept.sum(-1, keepdim=True)
    law = kept + refused * Mentored().law(p, q, ratio)
    torch.testing.assert_close(law.sum(-1), torch.ones(400).double())
    # clip(q, p/b, p/a): above the kept mass all tokens have one and the same share of p.
    share = torch.where(law > kept + 1e-12, law / p, torch.nan)
    apart = share.nan_to_num(nan=-1.0).amax(-1) - share.nan_to_num(nan=2.0).amin(-1)
    assert apart.max() < 1e-9
    for other in (Exact(), Matched()):
        assert (
            divergence(law, p) <= divergence(kept + refused * other.law(p, q, ratio), p) + 1e-12
        ).all()
    if factor == 1.0:
        torch.testing.assert_close(law, p)
    else:
        assert (law - p).abs().max() > 0.01
