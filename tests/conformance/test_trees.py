"""Verifiers of trees: that the suite notices wrong ones, and the promises of k-SEQ.

Its residual is a law, and it accepts enough. What both rules emit is tested with all other
verifiers, in `test_plugins`.
"""

from __future__ import annotations

import math

import pytest
import torch
from scipy.optimize import linprog
from torch import Tensor

from paretoken.evaluators.components.verifiers.exact import Exact
from paretoken.evaluators.components.verifiers.k_seq import KSeq
from paretoken.evaluators.components.verifiers.tree import TreeWise
from paretoken.evaluators.conformance.enumerable import LEVEL, Model, emitted, p_value
from paretoken.evaluators.conformance.verifiers import TREES
from paretoken.evaluators.engine.by_level import ByLevel, Level
from paretoken.evaluators.engine.laws import one_hot
from paretoken.evaluators.engine.tree import side_by_side, tree_of


def test_the_suite_notices_drafts_that_a_rule_is_not_for() -> None:
    """k-SEQ on siblings that exclude each other, which is why the engine never lets it."""
    target, draft = Model(0), Model(100)
    line, _, _ = emitted(KSeq(), target, draft, TREES["one level"], "certain")
    assert p_value(line, target) < LEVEL


def test_the_suite_notices_a_rho_that_is_too_small() -> None:
    class Hasty(KSeq):
        @staticmethod
        def smallest(p: Tensor, q: Tensor, count: Tensor) -> Tensor:
            return torch.ones_like(p[:, :1])

    line, _, _ = emitted(Hasty(), Model(0), Model(100), TREES["three chains"], "independent")
    assert p_value(line, Model(0)) < LEVEL


def test_the_suite_notices_children_that_are_tried_against_the_same_law() -> None:
    class Forgetful(TreeWise):
        def take(self, level: Level) -> tuple[Tensor, Tensor]:
            alone = level.offered.clone()
            alone[:, 1:] = False
            taken, _ = super().take(level._replace(offered=alone))
            again, rest = super().take(level._replace(offered=level.offered & ~alone))
            return torch.where(taken == 0, taken, again), rest

    line, _, _ = emitted(Forgetful(), Model(0), Model(100), TREES["three chains"], "independent")
    assert p_value(line, Model(0)) < LEVEL


@pytest.mark.parametrize("rule", [KSeq, TreeWise])
def test_one_chain_is_decided_as_by_the_exact_rule(rule: type[ByLevel]) -> None:
    """Not only in law: equal coins, equal drafts kept, and one law of the token behind them."""
    target, draft = Model(1), Model(101)
    parents = side_by_side(1, 2)
    _, ours, proposal = emitted(rule(), target, draft, parents, "independent")
    _, exact, again = emitted(Exact(), target, draft, parents, "independent")
    assert torch.equal(proposal.tokens, again.tokens)
    assert torch.equal(ours.accepted, exact.accepted)
    assert exact.law is not None and ours.law is not None
    torch.testing.assert_close(ours.law, exact.law, rtol=0, atol=1e-12)


def laws(seed: int, count: int, vocabulary: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    p, q = (2 * torch.randn(2, count, vocabulary, generator=generator).double()).softmax(-1)
    p[: count // 4, 0] = 0.0  # a token that the target never says, and one that nobody drafts
    q[count // 8 : count // 3, 1] = 0.0
    p[-1], q[-2] = one_hot(torch.tensor(1), vocabulary, p.dtype), p[-2]
    return p / p.sum(-1, keepdim=True), q / q.sum(-1, keepdim=True)


@pytest.mark.parametrize("count", [1, 2, 3, 8])
def test_what_k_seq_leaves_is_a_law(count: int) -> None:
    p, q = laws(0, 400, 6)
    many = torch.full((400, 1), count)
    rho = KSeq.smallest(p, q, many)
    beta = torch.minimum(q, p / rho).sum(-1, keepdim=True)
    rest = KSeq.unmet(p, q, rho, many)
    assert rest.min() >= -1e-9
    torch.testing.assert_close(rest.sum(-1, keepdim=True), (1 - beta) ** count)
    if count == 1:
        assert (rho == 1).all()
        torch.testing.assert_close(rest, (p - q).clamp_min(0))
        return
    # And rho is the smallest: a thousandth less is no law any more, but where 1 is one.
    inside = (rho > 1.01).squeeze(-1) & (beta < 0.99).squeeze(-1)
    less = torch.minimum(q, p / (0.999 * rho)).sum(-1, keepdim=True)
    assert inside.sum() > 100
    assert ((1 - (1 - less) ** count) > 0.999 * rho * less)[inside].all()


def test_k_seq_accepts_its_share_of_what_transport_can_and_more_with_more_drafts() -> None:
    vocabulary, count, toys = 3, 3, 20
    p, q = laws(1, toys, vocabulary)
    last = torch.zeros(toys, dtype=torch.float64)
    for k in range(1, 6):
        many = torch.full((toys, 1), k)
        beta = torch.minimum(q, p / KSeq.smallest(p, q, many)).sum(-1)
        reached = 1 - (1 - beta) ** k
        assert (reached >= last - 1e-6).all()  # rho is found to within k / 2^24
        last = reached
        if k == count:
            best = torch.tensor([_transport(a, b, k) for a, b in zip(p, q, strict=True)])
            assert (reached >= (1 - (1 - 1 / k) ** k) * best - 1e-6).all()
            assert (reached <= best + 1e-6).all()


def _transport(p: Tensor, q: Tensor, count: int) -> float:
    """The largest probability that one of `count` draws of q is the token of law p.

    Of each set S of candidates at most its probability goes to tokens in S, of each token at most
    its own p: a flow, found by linear programming.
    """
    vocabulary = len(p)
    sets = [[v for v in range(vocabulary) if code >> v & 1] for code in range(1, 1 << vocabulary)]

    def exactly(members: list[int]) -> float:
        subsets = [
            [m for i, m in enumerate(members) if code >> i & 1] for code in range(1 << len(members))
        ]
        return math.fsum(
            (-1) ** (len(members) - len(some)) * float(q[some].sum()) ** count for some in subsets
        )

    edges = [(s, v) for s, members in enumerate(sets) for v in members]
    rows = [[float(s == t) for s, _ in edges] for t in range(len(sets))]
    rows += [[float(v == t) for _, v in edges] for t in range(vocabulary)]
    limits = [max(0.0, exactly(members)) for members in sets] + p.tolist()
    found = linprog([-1.0] * len(edges), A_ub=rows, b_ub=limits)
    return -float(found.fun)


def test_shapes_of_trees() -> None:
    tree = tree_of((-1, -1, 0, 0, 1), torch.device("cpu"))
    assert tree.depth.tolist() == [0, 1, 1, 2, 2, 2]
    assert tree.sees[3].tolist() == [True, True, False, True, False, False]
    assert tree.lineage.tolist() == [[0, 0], [1, 1], [0, 2], [0, 3], [1, 4]]
    assert tree.above.tolist() == [0, 0, 0, 0, 1]
    with pytest.raises(ValueError, match="level by level"):
        tree_of((-1, 0, -1), torch.device("cpu"))
