"""The suite of workloads: opened with the user's options, it measures as a search relies on.

    paretoken plugins workloads --check text --option samples=2 --option tokens=8

Plain decoding and three random candidates of the workload's own space are measured for real.
"""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Iterator
from functools import cache, partial
from typing import Any

import numpy as np
import pyglove as pg

from paretoken.spaces.candidate import from_tree, to_tree
from paretoken.spaces.canonical import canonical
from paretoken.spaces.component import Component
from paretoken.spaces.conformance import Check
from paretoken.spaces.space import load
from paretoken.spaces.workload import Behaviour, Observed, Preparing, Sampled, Workload

_RANDOM = 3


def suite(plugin: Any, **options: Any) -> Iterator[Check]:
    """The checks of a workload; options: what it is opened with."""
    yield "its modality is that of a space", lambda: _space(plugin, options)
    opened: list[Workload] = []

    def opens() -> str:
        opened.append(plugin.open(**options))
        return ""

    yield "it opens", opens
    if not opened:
        return
    tried = _Tried(plugin, opened[0], options)
    yield "an option that nobody knows is refused", lambda: _refuses(plugin)
    yield "its objectives are a speed and a quality", tried.objectives
    yield "more samples than it can judge, or none, are refused", tried.refuses_samples
    yield "its identity is plain JSON, and stays", tried.identity
    yield "plain decoding is lossless", tried.plain_is_lossless
    for i in range(1 + _RANDOM):
        told = "plain decoding" if i == 0 else f"random candidate {i}"
        if isinstance(opened[0], Preparing):
            yield f"what it has learnt has one digest, {told}", partial(tried.learns, i)
        yield f"behaving the same twice has one fingerprint, {told}", partial(tried.behaves, i)
        yield f"equal seeds give equal samples, {told}", partial(tried.samples, i)
        yield f"quality has its objectives, {told}", partial(tried.quality, i)
    yield "speed has its objective", tried.speed
    yield "it generates as many as are asked for", tried.generates


def _space(plugin: Any, options: dict[str, Any]) -> str:
    name = plugin.space_for(options)
    return "" if load(name).size >= 1 else f"{name} is empty"


def _refuses(plugin: Any) -> str:
    try:
        plugin.open(no_such_option=1)
    except ValueError:  # BadInput is one
        return ""
    return "--option no_such_option=1 is accepted: misspelt options would be lost"


def _silent(phase: str, done: float) -> None:
    """A report that nobody reads."""


class _Tried:
    """An opened workload and what it was seen to do with some candidates."""

    def __init__(self, plugin: Any, opened: Workload, options: dict[str, Any]) -> None:
        self._opened = opened
        space = load(plugin.space_for(options))
        plain = canonical(opened.plain())
        drawn = itertools.islice(pg.random_sample(space.root, seed=0), _RANDOM)
        self._candidates: list[Component] = [plain, *map(canonical, drawn)]
        self._rows: bytes | None = None
        self._sample = cache(self._sampled)

    @property
    def _recording(self) -> bytes:
        self._rows = self._opened.record() if self._rows is None else self._rows
        return self._rows

    def _sampled(self, i: int, seed: int, again: bool = False) -> Sampled:
        return self._opened.sample(self._candidates[i], self._opened.samples, seed, _silent)

    def objectives(self) -> str:
        named = [objective.name for objective in self._opened.objectives]
        if len(named) < 2 or len(set(named)) < len(named):
            return f"they are {named}: two or more, each once"
        return ""

    def refuses_samples(self) -> str:
        self._opened.check_samples(self._opened.samples)
        for odd in (0, -1):
            try:
                self._opened.check_samples(odd)
            except ValueError:
                continue
            return f"{odd} samples are accepted"
        return ""

    def identity(self) -> str:
        one, other = (json.dumps(self._opened.context(), sort_keys=True) for _ in range(2))
        return "" if one == other else f"{one}, then {other}"

    def plain_is_lossless(self) -> str:
        found = self._behaviour(0)
        return "" if found.lossless else f"evidence: {dict(found.evidence)}"

    def _behaviour(self, i: int) -> Behaviour:
        return self._opened.behaviour(self._candidates[i], self._recording)

    def learns(self, i: int) -> str:
        assert isinstance(self._opened, Preparing)
        one, other = (self._opened.prepare(self._candidates[i], _silent) for _ in range(2))
        return "" if isinstance(one, str) and one == other else f"{one!r}, then {other!r}"

    def behaves(self, i: int) -> str:
        again = from_tree(to_tree(self._candidates[i]))
        one, other = self._behaviour(i), self._opened.behaviour(again, self._recording)
        for part in ("context", "drafting", "conditions", "runtime"):
            if json.dumps(getattr(one, part)) != json.dumps(getattr(other, part)):
                return f"{part} differs"
        floats = zip((*one.target, *one.rule), (*other.target, *other.rule), strict=True)
        if not all(np.array_equal(a, b) for a, b in floats):
            return "its floats differ"
        if not all(np.isfinite(a).all() for a in (*one.target, *one.rule)):
            return "its floats are not finite"
        return ""

    def samples(self, i: int) -> str:
        one, other = self._sample(i, 5), self._sample(i, 5, again=True)
        if one.tokens.dtype != np.int64 or len(one.tokens) != self._opened.samples:
            return f"tokens are {one.tokens.dtype} {list(one.tokens.shape)}"
        if not np.array_equal(one.tokens, other.tokens):
            return "the tokens differ"
        if not all(map(np.array_equal, one.trace, other.trace)):
            return "the rounds differ"
        return ""

    def quality(self, i: int) -> str:
        judged = self._opened.judge(self._sample(i, 5), _silent)
        return self._has(judged, [o.name for o in self._opened.objectives[1:]])

    def speed(self) -> str:
        seen = self._opened.speed(self._candidates[0], _silent)
        return self._has(seen, [self._opened.objectives[0].name])

    def _has(self, seen: Observed, names: list[str]) -> str:
        found = {quantity.name: quantity for quantity in seen.quantities}
        for objective in self._opened.objectives:
            if objective.name not in names:
                continue
            quantity = found.get(objective.name)
            if quantity is None:
                return f"{objective.name} is missing: there are {', '.join(found)}"
            if not math.isfinite(quantity.value) or not quantity.spread >= 0.0:
                return f"{objective.name} is {quantity.value} ± {quantity.spread}"
            if (quantity.higher, quantity.unit) != (objective.higher, objective.unit):
                return f"{objective.name} has another direction or unit than its objective"
        return ""

    def generates(self) -> str:
        made = self._opened.generate(to_tree(self._candidates[0]), (), 1, 0, 0, _silent)
        return "" if len(made) == 1 else f"{len(made)} for 1"
