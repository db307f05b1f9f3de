"""Rules that test one draft at a time: what they emit is the law that the formula says.

The law level computes `q*a + (1 - E_q a) * residual` from a rule's acceptance and believes it, so
acceptance has to be a function of its arguments, row by row and token by token, and `select` has to
go by it.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from itertools import product
from typing import Any

import torch
from torch import Tensor

from paretoken.evaluators.components.residuals.exact import Exact as ExactResidual
from paretoken.evaluators.conformance.enumerable import LEVEL, p_value_of
from paretoken.evaluators.engine.geometry import Geometry
from paretoken.evaluators.engine.laws import draw, one_hot
from paretoken.evaluators.engine.proposal import Proposal
from paretoken.evaluators.engine.verifier import Chance, PerToken
from paretoken.spaces.candidate import from_tree
from paretoken.spaces.component import Knob, Part
from paretoken.spaces.conformance import Check

V, ROWS, SLOTS = 6, 30_000, 3
# Sums over six tokens in float64 round by some 1e-16; what rules divide by is above 1e-4 here.
_TOLERANCE = 1e-9


def checks(kind: type[PerToken]) -> Iterator[Check]:
    """Of the rule with its defaults, and with every value that a search would try."""
    for told, rule in _settings(kind):
        yield f"acceptance is a probability, {told}", partial(_probability, rule)
        yield f"rows and tokens stand alone, {told}", partial(_alone, rule)
        yield f"its simpler writing does the same, {told}", partial(_simpler, rule)
        yield f"what is emitted is the law of the formula, {told}", partial(_law, rule)


def _settings(kind: type[PerToken]) -> Iterator[tuple[str, PerToken]]:
    """The defaults, then one knob after another at each point of its grid."""
    parts = {
        name: from_tree(declared.named, declared.kind)
        for name, declared in kind.fields.items()
        if isinstance(declared, Part)
    }
    yield "as it comes", kind(**parts)
    for name, declared in kind.fields.items():
        if not isinstance(declared, Knob) or declared.many:
            continue
        for value in declared.grid or declared.among or (declared.low, declared.high):
            if value is not None and value != declared.default:
                yield f"{name}={value}", kind(**parts, **{name: declared.check(value, name)})


def rows() -> tuple[Tensor, Tensor, Tensor]:
    """Target laws p and draft laws q, both [R, V], and slots [R, 1].

    Among them: forbidden tokens, drafts that are certain, equal laws, and a target that is certain.
    """
    generator = torch.Generator().manual_seed(0)
    p, q = (1.5 * torch.randn(2, 16, V, generator=generator).double()).softmax(-1)
    p[:4, 0] = 0.0
    p /= p.sum(-1, keepdim=True)
    q[4:8] = one_hot(torch.arange(4), V, q.dtype)
    q[8] = p[8]
    p[9] = one_hot(torch.tensor(2), V, p.dtype)
    return p, q, (torch.arange(16) % SLOTS).unsqueeze(-1)


def geometry() -> Geometry:
    """Tokens at unequal distances on a line, so that neighbours are unambiguous."""
    places = torch.arange(V).double().pow(1.3).unsqueeze(1)
    return Geometry(places, torch.cat([places, 2.0 - places], dim=1))


def _accepted(rule: PerToken, p: Tensor, q: Tensor, tokens: Tensor, slot: Tensor) -> Tensor:
    own = (p,) if rule.asks_model else ()  # the model's own law: here it is the target's
    return rule.acceptance(p, q, tokens, slot, geometry(), *own)


def _probability(rule: PerToken) -> str:
    p, q, slot = rows()
    everything = torch.arange(V).expand_as(p)
    a = torch.where(q > 0, _accepted(rule, p, q, everything, slot), 0.0)
    if a.shape != p.shape:
        return f"tokens [{len(p)}, {V}] gave acceptance {list(a.shape)}"
    if not bool(((a >= 0) & (a <= 1)).all()):
        return f"values from {float(a.min())} to {float(a.max())}"
    if not rule.asks_model and bool(a[p == 0].any()):
        return "a token that the target forbids is accepted"
    return ""


def _alone(rule: PerToken) -> str:
    p, q, slot = rows()
    everything = torch.arange(V).expand_as(p)
    a = _accepted(rule, p, q, everything, slot)
    order = torch.arange(V - 1, -1, -1)
    one = _accepted(rule, p[5:6], q[5:6], everything[5:6, order], slot[5:6])
    known = q[5:6, order] > 0
    apart = (one - a[5:6, order])[known].abs().max()
    return "" if apart <= _TOLERANCE else f"other rows or tokens beside it change it by {apart:.3g}"


def _simpler(rule: PerToken) -> str:
    simple = rule.simplified()
    if simple.simplified() != simple:
        return f"{simple.tag()} is simplified again: canonical forms would not be unique"
    if not isinstance(simple, PerToken):
        return ""
    p, q, slot = rows()
    everything = torch.arange(V).expand_as(p)
    ours, theirs = (_accepted(one, p, q, everything, slot) for one in (rule, simple))
    apart = float((ours - theirs)[q > 0].abs().max())
    return "" if apart <= _TOLERANCE else f"{simple.tag()} differs by {apart:.3g} in acceptance"


def _law(rule: PerToken) -> str:
    generator = torch.Generator().manual_seed(1)
    p, q, _ = rows()
    for row, at in product((0, 5, 11), range(2)):
        law, expected = _first_token(rule, p[row], q[row], at, generator)
        if p_value_of(law, expected) < LEVEL:
            share = [f"{float(n) / ROWS:.3f}" for n in law]
            wanted = [f"{float(one):.3f}" for one in expected]
            return f"slot {at} emits {', '.join(share)}, the formula says {', '.join(wanted)}"
    return ""


def _first_token(
    rule: PerToken, p: Tensor, q: Tensor, at: int, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Counts [V] of the token at slot `at`, where all drafts before stand, and their law [V]."""
    laws = p.expand(ROWS, at + 2, V).contiguous()
    drafts = torch.multinomial(q.expand(ROWS, -1), at + 1, replacement=True, generator=generator)
    chance = torch.rand(ROWS, at + 1, generator=generator, dtype=torch.float64)
    whole: Any = torch.ones(drafts.shape, dtype=torch.bool)
    proposal = Proposal(drafts, q.expand(ROWS, at + 1, V), whole, tuple(range(-1, at)))
    own = laws if rule.asks_model else None
    verdict = rule.select(laws, proposal, ExactResidual(), Chance(chance, own=own), geometry())
    assert verdict.law is not None
    reached = verdict.accepted >= at
    following = draw(verdict.law, torch.rand(ROWS, generator=generator, dtype=torch.float64))
    token = torch.where(verdict.accepted > at, drafts[:, at], following)[reached]
    everything, slot = torch.arange(V).unsqueeze(0), torch.tensor([[at]])
    one, other = p.unsqueeze(0), q.unsqueeze(0)
    a = torch.where(other > 0, _accepted(rule, one, other, everything, slot), 0.0)
    refused = 1.0 - (other * a).sum()

    def ratio() -> Tensor:
        found = rule.ratio(one, other, everything, slot, geometry())
        return torch.where(one > 0, found.nan_to_num(nan=0.0), 0.0)

    rest = ExactResidual().law(one, other, ratio) if refused > _TOLERANCE else torch.zeros_like(one)
    return torch.bincount(token, minlength=V), (other * a + refused * rest).squeeze(0)
