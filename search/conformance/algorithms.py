"""The suite of algorithms: they propose what there is, repeatably, and go on where they were.

Candidates are answered with made-up losses, some as failed, of three spaces: one with choices
inside choices, one with a continuous knob (which an algorithm may refuse), and one of a few
candidates.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from functools import partial
from random import Random
from typing import Any

import pyglove as pg

from paretoken.search.algorithm import Algorithm, Losses, Told
from paretoken.search.decisions import Decisions, Numbers
from paretoken.spaces.conformance import Check
from paretoken.spaces.errors import BadInput
from paretoken.spaces.objectives import Objective
from paretoken.spaces.space import Space, load

_OBJECTIVES = (Objective("images_per_s", "images/s", True, ""), Objective("fid", "", False, ""))
_ASKED, _AHEAD = 40, 4
_FEW = (  # 2 + 4 candidates
    ("decoder.drafter.window", (4, 8)), ("jacobi.coupling", ("none",)),
    ("jacobi.init", ("random",)), ("decoder.residual", ("exact",)),
    ("decoder.verifier", ("exact", "grouped")), ("grouped.size", (2, 4)),
    ("grouped.probability", (1.0,)), ("grouped.distance", (1.0,)), ("grouped.source", ("target",)),
)  # fmt: skip


def suite(plugin: Any) -> Iterator[Check]:
    """The checks of an algorithm."""
    if not (isinstance(plugin, type) and issubclass(plugin, Algorithm)):
        yield "it is a class of algorithms", lambda: f"it is {plugin!r}"
        return
    usual = load("fashion-small")
    warm = usual.root.clone(override={"sampling.temperature": pg.floatv(0.5, 2.0)})
    spaces = {"choices": usual, "a continuous knob": Space(warm)}
    for told, space in spaces.items():
        tried = _Tried(plugin, Decisions(space))
        yield f"a space it cannot search is refused as one, {told}", tried.opens
        if not tried.refused:
            yield f"it proposes what is in the space, {told}", tried.belongs
            yield f"equal seeds propose alike, {told}", partial(tried.repeats, 0)
            yield f"another seed proposes something else, {told}", partial(tried.repeats, 1)
            yield f"restored it goes on as if it had not stopped, {told}", tried.restores
            yield f"it may be asked ahead, and told in any order, {told}", tried.ahead
    few = usual
    for path, values in _FEW:
        few = few.narrow(path, values)
    yield "it ends once all candidates were proposed", _Tried(plugin, Decisions(few)).ends


class _Tried:
    """An algorithm on one space. refused: whether it says that it cannot search there."""

    def __init__(self, plugin: type[Algorithm], decisions: Decisions) -> None:
        self._plugin, self._decisions = plugin, decisions
        self.refused = False

    def opens(self) -> str:
        try:
            self._new(0)
        except BadInput:
            self.refused = True
            if math.isfinite(self._decisions.count):
                return "it cannot search choices"
        return ""

    def belongs(self) -> str:
        for one in self._run(self._new(0), _ASKED):
            self._decisions.tree(one.numbers)  # raises for what does not belong there
        return ""

    def repeats(self, seed: int) -> str:
        one, other = (_numbers(self._run(self._new(s), _ASKED)) for s in (0, seed))
        if seed == 0:
            return "" if one == other else f"number {_first(one, other)} differs"
        return "they are the same" if one == other else ""

    def restores(self) -> str:
        whole = self._run(self._new(0), _ASKED)
        for stopped in (1, _ASKED // 2):
            again = self._new(0)
            again.restore(whole[:stopped])
            rest = _numbers(self._run(again, _ASKED - stopped))
            expected = _numbers(whole[stopped:])
            if rest != expected:
                return f"number {stopped + _first(rest, expected)} differs, stopped at {stopped}"
        return ""

    def ahead(self) -> str:
        algorithm, rng = self._new(0), Random(0)
        waiting: list[Numbers] = []
        for _ in range(_ASKED):
            numbers = algorithm.ask()
            if numbers is not None:
                self._decisions.tree(numbers)
                waiting.append(numbers)
            if waiting and (numbers is None or len(waiting) > _AHEAD):
                algorithm.tell(*_answered(waiting.pop(rng.randrange(len(waiting)))))
        return ""

    def ends(self) -> str:
        algorithm = self._new(0)
        found = _numbers(self._run(algorithm, 20 * int(self._decisions.count)))
        missing = int(self._decisions.count) - len(set(found))
        if missing:
            return (
                f"{missing} of {self._decisions.count} are not proposed in {len(found)} proposals"
            )
        return "" if algorithm.ask() is None else "it goes on proposing"

    def _new(self, seed: int) -> Algorithm:
        return self._plugin(self._decisions, _OBJECTIVES, seed)

    @staticmethod
    def _run(algorithm: Algorithm, most: int) -> list[Told]:
        """Asked and told in turn."""
        history: list[Told] = []
        while len(history) < most and (numbers := algorithm.ask()) is not None:
            answered = _answered(numbers)
            algorithm.tell(*answered)
            history.append(Told(*answered))
        return history


def _answered(numbers: Numbers) -> tuple[Numbers, Losses | None, str]:
    """Made-up losses, the same in every process; every sixth candidate or so has failed."""
    rng = Random(str(numbers))
    if rng.random() < 1 / 6:
        return numbers, None, "nan"
    return numbers, (-10.0 * rng.random(), 50.0 + math.fsum(numbers)), ""


def _numbers(history: Sequence[Told]) -> list[Numbers]:
    return [one.numbers for one in history]


def _first(one: Sequence[Numbers], other: Sequence[Numbers]) -> int:
    """Where two lists differ first."""
    both = zip(one, other, strict=False)
    return next((n for n, (a, b) in enumerate(both) if a != b), min(len(one), len(other)))
