"""Decisions: a space compiled into a flat walk over plain numbers and plain JSON.

The numbers are PyGlove's own (`DNA.to_numbers()`): an option's index or a float for every decision
that is live, in order; decisions inside options that were not taken have none. PyGlove itself draws
and decodes tens of candidates a second, so it is only asked for `dna` and `from_dna`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property, partial
from random import Random
from typing import Any

import pyglove as pg

from paretoken.search.point import Choose, Point
from paretoken.search.walk import compiled
from paretoken.spaces.errors import BadValue
from paretoken.spaces.space import Space

__all__ = ["Choose", "Decisions", "Numbers", "Point"]

Numbers = tuple[float, ...]

_TRIES = 16  # until a change shows: in a `manyof`, several answers mean the same


class Decisions:
    """Every decision of a space, and the ways between numbers, trees and DNA."""

    def __init__(self, space: Space) -> None:
        self._space = space
        self._root = compiled(space.tree, "")
        self.points: tuple[Point, ...] = tuple(self._root.points())

    @property
    def dna_spec(self) -> Any:
        """PyGlove's view of the space."""
        return self._space.dna_spec

    @property
    def count(self) -> float:
        """Number of candidates; infinite with a continuous float."""
        return self._root.count

    @property
    def width(self) -> int:
        """Number of candidates that it takes to meet every component that they may have."""
        return self._root.width

    @cached_property
    def conditional(self) -> bool:
        """Whether some decision exists only if another one is taken in a certain way."""
        return self._root.conditional

    def tree(self, numbers: Sequence[float]) -> dict[str, Any]:
        """The candidate's tree. Raises BadValue for numbers that do not belong to this space."""
        rest = iter(numbers)
        try:
            tree: dict[str, Any] = self._root.build(rest)
        except StopIteration:
            raise BadValue(f"{len(numbers)} decisions are too few for this space.") from None
        if next(rest, None) is not None:
            raise BadValue(f"{len(numbers)} decisions are too many for this space.")
        return tree

    def numbers(self, tree: Any) -> Numbers:
        """The numbers of a candidate's tree. Raises BadValue for one that is not in this space."""
        found = self._root.match(tree)
        if found is None:
            raise BadValue("these settings are not in this space.")
        return tuple(found)

    def random(self, rng: Random) -> Numbers:
        """A draw, decision by decision: every option of a decision is as likely as the others."""
        return tuple(self._root.draw(rng))

    def spread(self, met: Mapping[tuple[str, float], int], rng: Random) -> Numbers:
        """A draw that prefers, decision by decision, what was met least; met: see `Point`.

        As many of them as the space is wide meet each of its components, which draws that know
        nothing of each other do not: of eight drafters, twelve draws miss one in five.
        """
        return self.decide(lambda point: point.least_met(met, rng))

    def decide(self, choose: Choose) -> Numbers:
        """The numbers that come of asking `choose` at every live decision, in order.

        It answers with an index below the point's size, or a float. The slots of a `manyof` are
        points of one fixed size, folded onto the values still legal: every answer is valid, and
        several may mean the same.
        """
        return tuple(self._root.decide(choose))

    def neighbour(self, numbers: Sequence[float], rng: Random) -> Numbers:
        """The numbers with one live decision taken differently, and what that opens drawn anew.

        The same numbers if there is nothing to change.
        """
        old = self.choices(numbers)
        changeable = [p.name for p in self.points if p.name in old and p.size != 1]
        changed = tuple(numbers)
        for _ in range(_TRIES if changeable else 0):
            picked = rng.choice(changeable)
            changed = self.decide(partial(_but_one, old, picked, rng))
            if changed != tuple(numbers):
                break
        return changed

    def choices(self, numbers: Sequence[float]) -> dict[str, float]:
        """By live point's name, what `choose` has to answer for these numbers to come out."""
        rest = iter(numbers)
        return dict(self._root.choices(rest))

    def nth(self, index: int) -> Numbers:
        """The numbers of candidate 0 <= index < count; the last decision varies fastest."""
        return tuple(self._root.nth(index))

    def dna(self, numbers: Sequence[float]) -> pg.DNA:
        """PyGlove's DNA of the numbers."""
        self.tree(numbers)  # PyGlove checks less
        choices = [p.size > 0 for p in self._live(numbers)]
        exact = [int(n) if whole else float(n) for n, whole in zip(numbers, choices, strict=True)]
        return pg.DNA.from_numbers(exact, self._space.dna_spec)

    def from_dna(self, dna: pg.DNA) -> Numbers:
        """The numbers of a DNA of this space."""
        return tuple(dna.to_numbers())

    def _live(self, numbers: Sequence[float]) -> list[Point]:
        found = self.choices(numbers)
        return [point for point in self.points if point.name in found]


def _but_one(old: dict[str, float], picked: str, rng: Random, point: Point) -> float:
    """The old choice at every point but the picked one, and a draw at those that are new."""
    if point.name in old and point.name != picked:
        return old[point.name]
    if point.name == picked and point.size:
        return (old[picked] + 1 + rng.randrange(point.size - 1)) % point.size
    return point.draw(rng)
