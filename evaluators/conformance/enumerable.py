"""Enumerable targets: laws of three tokens, known exactly, behind chains and trees of drafts.

Draft and target are random laws of every prefix. A rule is shown many chains or trees drawn from
the draft as drafters draw them: independently, without replacement, or certain. What it lets
through is compared with the target's product law by Pearson's chi-square.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from paretoken.evaluators.components.residuals.exact import Exact as ExactResidual
from paretoken.evaluators.engine.geometry import Geometry
from paretoken.evaluators.engine.laws import draw, one_hot
from paretoken.evaluators.engine.proposal import Proposal, Verdict
from paretoken.evaluators.engine.verifier import Chance

# Tokens, tokens behind two levels of drafts, and samples.
V, DEPTH, ROWS = 3, 3, 200_000
# A right rule fails at one in 100,000 choices of the seed, and seeds are fixed.
LEVEL = 1e-5
GEOMETRY = Geometry(torch.eye(V), torch.eye(V))


class Model:
    """A law for every prefix of up to two tokens: tables [1, V], [V, V], [V * V, V]."""

    def __init__(self, seed: int) -> None:
        generator = torch.Generator().manual_seed(seed)
        self.tables = [
            (1.5 * torch.randn(V**depth, V, generator=generator).double()).softmax(-1)
            for depth in range(DEPTH)
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
    """How probable lines [ROWS, 3] at least as far from the target's law are; 0 for a forbidden."""
    first, second, third = target.tables
    law = (first.view(V, 1, 1) * second.view(V, V, 1) * third.view(V, V, V)).flatten()
    seen = torch.bincount((line[:, 0] * V + line[:, 1]) * V + line[:, 2], minlength=V**3)
    return p_value_of(seen, law)


def p_value_of(seen: Tensor, law: Tensor) -> float:
    """Pearson's chi-square p-value of counts [n] under a law [n]; 0 where one cannot be."""
    if seen[law == 0].any():
        return 0.0
    expected = seen.sum() * law[law > 0]
    if len(expected) == 1:
        return 1.0
    statistic = ((seen[law > 0] - expected) ** 2 / expected).sum()
    degrees = torch.tensor((len(expected) - 1) / 2, dtype=torch.float64)
    return float(torch.special.gammaincc(degrees, statistic.double() / 2))


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


def laws_of(model: Model, proposal: Proposal) -> Tensor:
    """The laws [B, D + 1, V] at the root and after each node."""
    nodes = range(-1, len(proposal.parents))
    return torch.stack([law_after(model, proposal.parents, proposal.tokens, n) for n in nodes], 1)


def drawn(parents: tuple[int, ...], draft: Model, how: str, toss: Toss) -> Proposal:
    """Drafts of two levels at most: "independent", "without replacement" or "certain"."""
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
    rule: Any, target: Model, draft: Model, parents: tuple[int, ...], how: str = "independent"
) -> tuple[Tensor, Verdict, Proposal]:
    """Three tokens a row, [ROWS, 3], and how they came about."""
    toss = Toss(7)
    proposal = drawn(parents, draft, how, toss)
    chance = Chance(toss(ROWS, len(parents)))
    laws = laws_of(target, proposal)
    verdict: Verdict = rule.select(laws, proposal, ExactResidual(), chance, GEOMETRY)
    if verdict.law is None:
        raise ValueError("a rule that draws tokens itself has no law of the next one")
    following = draw(verdict.law, toss(ROWS))
    line = torch.zeros(ROWS, DEPTH, dtype=torch.int64)
    along = torch.nn.functional.pad(proposal.tokens.gather(1, verdict.path), (0, DEPTH))
    for depth in range(DEPTH):  # what is not decided yet is drawn plainly
        plainly = draw(target.after(line[:, :depth]), toss(ROWS))
        decided = torch.where(verdict.accepted == depth, following, plainly)
        line[:, depth] = torch.where(verdict.accepted > depth, along[:, depth], decided)
    return line, verdict, proposal


def off_the_tree(verdict: Verdict, proposal: Proposal) -> str:
    """What is wrong with the accepted path: it is one of nodes that were there, from the root."""
    if verdict.accepted.min() < 0 or verdict.accepted.max() > verdict.path.shape[1]:
        counts = sorted(set(verdict.accepted.tolist()))
        return f"accepted is {counts}, on paths of {verdict.path.shape[1]}"
    parents = torch.tensor([*proposal.parents])
    for depth in range(verdict.path.shape[1]):
        kept = verdict.accepted > depth
        node = verdict.path[kept, depth]
        if not proposal.valid[kept].gather(1, node.unsqueeze(1)).all():
            return f"a draft at depth {depth} is kept in a row that does not have it"
        above = verdict.path[kept, depth - 1] if depth else torch.full_like(node, -1)
        if not torch.equal(parents[node], above):
            return f"a draft at depth {depth} is kept without the one it continues"
    return ""
