"""The suite for verifiers of trees: the law of three tokens behind two levels of drafts, exactly.

Draft and target are random laws of every prefix, as in `test_rules_of_chance`. Trees are drawn as
drafters draw them: independently, without replacement, or certain; what a rule lets through is
compared with the target's product law. Also the promises of k-SEQ: its residual is a law, and it
accepts enough.
"""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from scipy.optimize import linprog
from scipy.stats import chi2
from torch import Tensor

from paretoken.evaluators.components.residuals.exact import Exact as ExactResidual
from paretoken.evaluators.components.verifiers.exact import Exact
from paretoken.evaluators.components.verifiers.k_seq import KSeq
from paretoken.evaluators.components.verifiers.tree import TreeWise
from paretoken.evaluators.engine.by_level import ByLevel, Level
from paretoken.evaluators.engine.geometry import Geometry
from paretoken.evaluators.engine.laws import draw, one_hot
from paretoken.evaluators.engine.proposal import Proposal, Verdict
from paretoken.evaluators.engine.tree import side_by_side, tree_of
from paretoken.evaluators.engine.verifier import Chance, Verifier

V, ROWS = 3, 200_000
# 30 tests at this level: right rules fail one in 3,300 choices of the seed, which is fixed.
LEVEL = 1e-5
GEOMETRY = Geometry(torch.eye(V), torch.eye(V))


class Model:
    """A law for every prefix of up to two tokens: tables [1, V], [V, V], [V * V, V]."""

    def __init__(self, seed: int) -> None:
        generator = torch.Generator().manual_seed(seed)
        self.tables = [
            (1.5 * torch.randn(V**depth, V, generator=generator).double()).softmax(-1)
            for depth in range(3)
        ]
        if seed == 3:  # a token that is never said
            self.tables[1][:, 0] = 0
            self.tables[1] /= self.tables[1].sum(-1, keepdim=True)

    def after(self, line: Tensor) -> Tensor:
        """The law [B, V] behind tokens [B, depth]."""
        index = torch.zeros(len(line), dtype=torch.int64)
        for token in line.unbind(1):
            index = index * V + token
        return self.tables[line.shape[1]][index]


def p_value(line: Tensor, target: Model) -> float:
    first, second, third = target.tables
    law = (first.view(V, 1, 1) * second.view(V, V, 1) * third.view(V, V, V)).flatten()
    seen = torch.bincount((line[:, 0] * V + line[:, 1]) * V + line[:, 2], minlength=V**3)
    assert not seen[law == 0].any()
    expected = ROWS * law[law > 0]
    statistic = ((seen[law > 0] - expected) ** 2 / expected).sum()
    return float(chi2.sf(float(statistic), len(expected) - 1))


class Toss:
    """Uniform numbers, one after another."""

    def __init__(self, seed: int) -> None:
        self._generator = torch.Generator().manual_seed(seed)

    def __call__(self, *size: int) -> Tensor:
        return torch.rand(*size, generator=self._generator, dtype=torch.float64)


def law_after(model: Model, parents: tuple[int, ...], tokens: Tensor, node: int) -> Tensor:
    """The law [B, V] behind a node, -1 being the root."""
    way: list[int] = []
    while node >= 0:
        way, node = [node, *way], parents[node]
    return model.after(tokens[:, way])


def drawn(parents: tuple[int, ...], draft: Model, how: str, toss: Toss) -> Proposal:
    """A tree of two levels at most, drawn `how`."""
    tokens = torch.zeros(ROWS, len(parents), dtype=torch.int64)
    laws: list[Tensor] = []
    for node, parent in enumerate(parents):
        law = law_after(draft, parents, tokens, parent)
        elder = [other for other in range(node) if parents[other] == parent]
        if how != "independent":
            for other in elder:
                law = law.scatter(1, tokens[:, [other]], 0.0)
            law = law / law.sum(-1, keepdim=True)
        if how == "certain":
            law = one_hot(law.argmax(-1), V, law.dtype)
        tokens[:, node] = draw(law, toss(ROWS))
        laws.append(law)
    valid = torch.ones(tokens.shape, dtype=torch.bool)
    valid[::3, -1] = False  # some rows have a node less
    return Proposal(tokens, torch.stack(laws, 1), valid, parents)


def emitted(
    rule: Any, target: Model, draft: Model, parents: tuple[int, ...], how: str
) -> tuple[Tensor, Verdict, Proposal]:
    """Three tokens a row, [ROWS, 3], and how they came about."""
    toss = Toss(7)
    proposal = drawn(parents, draft, how, toss)
    laws = torch.stack(
        [law_after(target, parents, proposal.tokens, node) for node in range(-1, len(parents))], 1
    )
    chance = Chance(toss(ROWS, len(parents)))
    verdict = rule.select(laws, proposal, ExactResidual(), chance, GEOMETRY)
    following = draw(verdict.law, toss(ROWS))
    line = torch.zeros(ROWS, 3, dtype=torch.int64)
    along = torch.nn.functional.pad(proposal.tokens.gather(1, verdict.path), (0, 3))
    for depth in range(3):  # what is not decided yet is drawn plainly
        plainly = draw(target.after(line[:, :depth]), toss(ROWS))
        decided = torch.where(verdict.accepted == depth, following, plainly)
        line[:, depth] = torch.where(verdict.accepted > depth, along[:, depth], decided)
    return line, verdict, proposal


TREES = {
    "three chains": side_by_side(3, 2),
    "two chains": side_by_side(2, 2),
    "uneven": (-1, -1, 0, 0, 1),
    "one level": (-1, -1, -1),
}
# Every rule with what it takes: k-SEQ chains that are drawn independently, the tree rule anything.
CASES = [
    *(("k_seq", tree, "independent") for tree in ("three chains", "two chains", "one level")),
    *(
        ("tree", tree, how)
        for tree in TREES
        for how in ("independent", "certain", "without replacement")
    ),
]
RULES: dict[str, type[Verifier]] = {"k_seq": KSeq, "tree": TreeWise}


@pytest.mark.parametrize(("rule", "tree", "how"), CASES)
@pytest.mark.parametrize("seed", [0, 3])
def test_the_emitted_law_is_the_targets(rule: str, tree: str, how: str, seed: int) -> None:
    target, draft = Model(seed), Model(100 + seed)
    line, verdict, proposal = emitted(RULES[rule](), target, draft, TREES[tree], how)
    assert p_value(line, target) > LEVEL
    # What is kept is a path of nodes that were there.
    parents = torch.tensor([*TREES[tree]])
    for depth in range(verdict.path.shape[1]):
        kept = verdict.accepted > depth
        node = verdict.path[kept, depth]
        assert proposal.valid[kept].gather(1, node.unsqueeze(1)).all()
        above = verdict.path[kept, depth - 1] if depth else torch.full_like(node, -1)
        assert torch.equal(parents[node], above)
    assert int(verdict.accepted.max()) == verdict.path.shape[1]


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
    toss = Toss(7)
    drawn(parents, draft, "independent", toss)
    laws = torch.stack(
        [law_after(target, parents, proposal.tokens, node) for node in (-1, 0, 1)], 1
    )
    coins = Chance(toss(ROWS, 2))
    exact = Exact().select(laws, proposal, ExactResidual(), coins, GEOMETRY)
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
