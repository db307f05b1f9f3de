"""The suite for joint rules that toss coins: the law of three tokens behind two drafts, exactly.

Draft and target are random laws of every prefix; the rule is shown many chains drawn from the
draft, and what it lets through is compared with the product law of the target. As for the rules of
`test_joint_rules`, the class names in `passed` the digest of the source that passed.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from scipy.stats import chi2
from torch import Tensor

from paretoken.evaluators.components.residuals.exact import Exact as ExactResidual
from paretoken.evaluators.components.verifiers.block import Block
from paretoken.evaluators.components.verifiers.exact import Exact
from paretoken.evaluators.engine.geometry import Geometry
from paretoken.evaluators.engine.laws import draw
from paretoken.evaluators.engine.proposal import Proposal
from paretoken.evaluators.engine.verifier import Chance, PerToken, Verifier
from paretoken.evaluators.law import source_digest
from paretoken.spaces.plugins import KINDS

V, DRAFTS, ROWS = 3, 2, 200_000
LEVEL = 1e-5
GEOMETRY = Geometry(torch.eye(V), torch.eye(V))


def rules() -> Iterator[type[Verifier]]:
    for name in KINDS["verifiers"].names():
        rule = KINDS["verifiers"].load(name)
        if not issubclass(rule, PerToken) and rule.renews_chance:
            yield rule


class Model:
    """A law for every prefix of up to two tokens: tables [1, V], [V, V], [V * V, V]."""

    def __init__(self, seed: int, forbids: bool = False) -> None:
        generator = torch.Generator().manual_seed(seed)
        self.tables = [
            (1.5 * torch.randn(V**depth, V, generator=generator).double()).softmax(-1)
            for depth in range(DRAFTS + 1)
        ]
        if forbids:  # a token that the target never says
            self.tables[1][:, 0] = 0
            self.tables[1] /= self.tables[1].sum(-1, keepdim=True)

    def laws(self, tokens: Tensor) -> Tensor:
        """[B, DRAFTS + 1, V] after tokens [B, DRAFTS]."""
        index, found = torch.zeros(len(tokens), dtype=torch.int64), [self.tables[0][[0]]]
        found[0] = found[0].expand(len(tokens), -1)
        for depth in range(DRAFTS):
            index = index * V + tokens[:, depth]
            found.append(self.tables[depth + 1][index])
        return torch.stack(found, 1)


def emitted(rule: Any, target: Model, draft: Model, drafts: int = DRAFTS) -> tuple[Tensor, float]:
    """Three tokens a row, [ROWS, 3], and how many drafts stood on average."""
    generator = torch.Generator().manual_seed(9)

    def coins(*size: int) -> Tensor:
        return torch.rand(*size, generator=generator, dtype=torch.float64)

    tokens = torch.zeros(ROWS, DRAFTS, dtype=torch.int64)
    for depth in range(DRAFTS):
        tokens[:, depth] = draw(draft.laws(tokens)[:, depth], coins(ROWS))
    valid = torch.ones(ROWS, DRAFTS, dtype=torch.bool)
    valid[:, drafts:] = False
    proposal = Proposal(tokens, draft.laws(tokens)[:, :DRAFTS], valid, (-1, 0))
    chance = Chance(coins(ROWS, DRAFTS))
    verdict = rule.select(target.laws(tokens), proposal, ExactResidual(), chance, GEOMETRY)
    line = torch.zeros(ROWS, DRAFTS + 1, dtype=torch.int64)
    following = draw(verdict.law, coins(ROWS))
    for depth in range(DRAFTS + 1):  # what is not decided yet is drawn plainly
        plainly = draw(target.laws(line[:, :DRAFTS])[:, depth], coins(ROWS))
        drafted = tokens[:, min(depth, DRAFTS - 1)]
        decided = torch.where(verdict.accepted == depth, following, plainly)
        line[:, depth] = torch.where(verdict.accepted > depth, drafted, decided)
    return line, float(verdict.accepted.double().mean())


def p_value(line: Tensor, target: Model) -> float:
    seen = torch.bincount((line[:, 0] * V + line[:, 1]) * V + line[:, 2], minlength=V**3)
    statistic, cells = 0.0, 0
    for i, j, k in itertools.product(range(V), repeat=3):
        laws = target.tables
        expected = ROWS * float(laws[0][0, i] * laws[1][i, j] * laws[2][i * V + j, k])
        count = int(seen[(i * V + j) * V + k])
        if expected == 0:
            assert count == 0
            continue
        statistic += (count - expected) ** 2 / expected
        cells += 1
    return float(chi2.sf(statistic, cells - 1))


@pytest.mark.parametrize("rule", list(rules()), ids=lambda rule: rule.__name__)
@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("drafts", [1, 2])
def test_the_emitted_law_is_the_targets(rule: type[Verifier], seed: int, drafts: int) -> None:
    target, draft = Model(seed, forbids=seed == 3), Model(100 + seed)
    line, _ = emitted(rule(), target, draft, drafts)
    assert p_value(line, target) > LEVEL


@pytest.mark.parametrize("rule", list(rules()), ids=lambda rule: rule.__name__)
def test_the_source_is_the_one_that_passed(rule: type[Verifier]) -> None:
    assert rule.passed == source_digest(rule), f"write passed = {source_digest(rule)!r}"


def test_the_suite_notices_a_rule_that_keeps_too_much() -> None:
    class Greedy(Block):
        def select(self, laws: Tensor, proposal: Proposal, *rest: Any) -> Any:
            residual, chance, geometry = rest
            generous = Chance(chance.accept * 0.9)
            return super().select(laws, proposal, residual, generous, geometry)

    target = Model(0)
    line, _ = emitted(Greedy(), target, Model(100))
    assert p_value(line, target) < LEVEL


@pytest.mark.parametrize("seed", range(4))
def test_blocks_keep_no_fewer_drafts_than_tokens_one_by_one(seed: int) -> None:
    target, draft = Model(seed), Model(100 + seed)
    _, block = emitted(Block(), target, draft)
    _, single = emitted(Exact(), target, draft)
    # The standard error of a mean of 0, 1 and 2 over ROWS is below 0.0025; five of the difference.
    assert block > single - 5 * 2**0.5 * 1.0 / ROWS**0.5
