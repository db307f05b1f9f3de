"""The suite of verifiers: a rule emits the law that the store will believe it to emit.

Of a rule that tests one draft at a time that law is computed, so the suite checks that the formula
holds. A joint rule claims to be lossless: its class names in `passed` the digest of the source that
passed here, so whoever changes it runs the suite again and writes down the digest it prints.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

from paretoken.evaluators.conformance import by_noise, one_by_one
from paretoken.evaluators.conformance.enumerable import (
    LEVEL,
    Model,
    emitted,
    off_the_tree,
    p_value,
)
from paretoken.evaluators.engine.tree import side_by_side
from paretoken.evaluators.engine.verifier import PerToken, Verifier
from paretoken.evaluators.law import source_digest
from paretoken.spaces.conformance import Check

CHAINS: dict[str, tuple[int, ...]] = {"one draft": (-1,), "two drafts": (-1, 0)}
TREES: dict[str, tuple[int, ...]] = {
    "three chains": side_by_side(3, 2),
    "two chains": side_by_side(2, 2),
    "uneven": (-1, -1, 0, 0, 1),
    "one level": (-1, -1, -1),
}
# Independent drafts are chains side by side: a node never has a sibling that knows of it.
_TAKEN = {
    "none": ({}, ()),
    "independent": (
        {name: TREES[name] for name in ("three chains", "two chains", "one level")},
        ("independent",),
    ),
    "any": (TREES, ("independent", "certain", "without replacement")),
}


def cases(rule: type[Verifier]) -> Iterator[tuple[str, tuple[int, ...], str]]:
    """What a joint rule takes: a name, the parents of the drafts, and how they are drawn."""
    trees, ways = _TAKEN[rule.branches]
    for name, parents in CHAINS.items():
        yield name, parents, "independent"
    for how in ways:
        for name, parents in trees.items():
            yield name, parents, how


def suite(plugin: Any) -> Iterator[Check]:
    """The checks of a verifier's class."""
    if not (isinstance(plugin, type) and issubclass(plugin, Verifier)):
        yield "it is a class of verifiers", lambda: f"it is {plugin!r}"
        return
    rule: type[Verifier] = plugin
    yield "it is documented", lambda: "" if (rule.__doc__ or "").strip() else "no docstring"
    if issubclass(rule, PerToken):
        yield from one_by_one.checks(rule)
        return
    if rule.branches not in _TAKEN:
        yield "branches", lambda: f"{rule.branches!r} is none of {', '.join(_TAKEN)}"
        return
    if rule.renews_chance:
        for name, parents, how in cases(rule):
            for seed in (0, 1, 3):  # the last target forbids a token
                told = f"it emits the target's law: {name}, {how}, target {seed}"
                yield told, partial(_lossless, rule, seed, parents, how)
    else:
        for name, drafting in by_noise.DRAFTS.items():
            yield f"it emits the target's law: {name}", partial(_by_noise, rule, drafting)
    yield "its claim names this source", lambda: _claim(rule)


def _lossless(rule: type[Verifier], seed: int, parents: tuple[int, ...], how: str) -> str:
    target = Model(seed)
    line, verdict, proposal = emitted(rule(), target, Model(100 + seed), parents, how)
    return off_the_tree(verdict, proposal) or _told(p_value(line, target))


def _by_noise(rule: type[Verifier], drafting: by_noise.Drafting) -> str:
    return _told(by_noise.p_value(by_noise.emitted(rule(), drafting)))


def _told(found: float) -> str:
    return "" if found > LEVEL else f"chi-square has p = {found:.2g}: another law than the target's"


def _claim(rule: type[Verifier]) -> str:
    digest = source_digest(rule)
    if rule.passed == digest:
        return ""
    return f"passed is {rule.passed!r}: if all else is right, write passed = {digest!r}"
