"""The Pareto front of measured points, what noise leaves undecided beside it, and its volume.

A point is anything with quantities by name, such as a `Trial`. One that lacks an objective's
quantity, or has a NaN or an infinity there, takes no part: it is neither on the front nor
dominates anything.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from paretoken.spaces.errors import BadInput, BadValue
from paretoken.spaces.objectives import Objective
from paretoken.spaces.records import Quantity

# Two values differ significantly beyond so many standard deviations of their difference.
SIGNIFICANT = 2.0


class Point(Protocol):
    """Something measured."""

    @property
    def quantities(self) -> Mapping[str, Quantity]:
        """What was measured, by name."""


P = TypeVar("P", bound=Point)


@dataclass(frozen=True)
class _Placed(Generic[P]):
    """A point with one loss (smaller is better) and one spread for each objective."""

    point: P
    losses: tuple[float, ...]
    spreads: tuple[float, ...]


def pareto_front(points: Iterable[P], objectives: Sequence[Objective]) -> list[P]:
    """The points that no other point dominates, best in the first objective first.

    One point dominates another if it is at least as good in every objective and better in one,
    by value. Equal points do not dominate each other: all of them stay, in the order given.
    Raises BadInput where values were measured under different conditions.
    """
    placed = _place(points, objectives)
    if not placed:
        return []
    import moocore  # type: ignore[import-untyped]  # a tenth of a second, so not on top

    kept = moocore.is_nondominated([place.losses for place in placed], keep_weakly=True)
    front = [place for place, stays in zip(placed, kept, strict=True) if stays]
    return [place.point for place in sorted(front, key=lambda place: place.losses)]


def indistinguishable(
    points: Iterable[P], objectives: Sequence[Objective], front: Iterable[P]
) -> list[P]:
    """The points off `front` that noise alone may keep off it, best in the first objective first.

    a dominates b *significantly* if a dominates b by value and in at least one objective is ahead
    by more than 2 sqrt(s_a^2 + s_b^2), where s are the spreads. Listed is every point that is
    dominated, but by no measured point significantly: whoever beats it leads within the noise
    only. So a point on the front is never listed; without spreads nothing is; and larger spreads
    can only lengthen the list. The other objectives count by value: were a lead asked for
    in each, every slow decoder of the same output law would be listed, for equal qualities never
    differ significantly. The price is that a point left out may still be truly better in an
    objective where it trails by less than the noise. The relation is not transitive, therefore
    every point is asked, not the front alone; and it never changes the front itself.

    Raises BadInput where values were measured under different conditions.
    """
    on_front = {id(point) for point in front}
    placed = sorted(_place(points, objectives), key=lambda place: place.losses)
    off = [place for place in placed if id(place.point) not in on_front]
    if not off:
        return []
    leading = _Rivals([place for place in placed if id(place.point) in on_front])
    everyone = _Rivals(placed)  # the few points that the front leaves open are asked of all
    open_ones = [place for place in off if not leading.beat(place)]
    return [place.point for place in open_ones if not everyone.beat(place)]


def hypervolume(
    points: Iterable[P], objectives: Sequence[Objective], reference: Mapping[str, float]
) -> float:
    """The volume that the points dominate and that is better than `reference`.

    reference: by objective name, in the objective's unit; a point not better than it in every
    objective adds nothing. Unit: the product of the objectives' units. Compare only under one
    reference. Source: Zitzler and Thiele 1998.
    """
    for objective in objectives:
        if not math.isfinite(reference.get(objective.name, math.nan)):
            raise BadValue(f"a hypervolume needs a finite reference value of {objective.name!r}.")
    placed = _place(points, objectives)
    if not placed:
        return 0.0
    import moocore

    corner = [objective.loss(reference[objective.name]) for objective in objectives]
    return float(moocore.hypervolume([place.losses for place in placed], ref=corner))


def _place(points: Iterable[P], objectives: Sequence[Objective]) -> list[_Placed[P]]:
    if not objectives:
        raise BadInput("a front needs at least one objective.")
    placed: list[_Placed[P]] = []
    conditions: list[Counter[str]] = [Counter() for _ in objectives]
    for point in points:
        found = [point.quantities.get(objective.name) for objective in objectives]
        values = [quantity for quantity in found if quantity and math.isfinite(quantity.value)]
        if len(values) < len(objectives):
            continue
        losses = (o.loss(quantity.value) for o, quantity in zip(objectives, values, strict=True))
        spreads = (quantity.spread for quantity in values)
        placed.append(_Placed(point, tuple(losses), tuple(spreads)))
        for counter, quantity in zip(conditions, values, strict=True):
            counter[quantity.comparable] += 1
    for objective, counter in zip(objectives, conditions, strict=True):
        _check_comparable(objective.name, counter)
    return placed


def _check_comparable(name: str, conditions: Counter[str]) -> None:
    if len(conditions) > 1:
        (one, ones), (other, others) = conditions.most_common(2)
        raise BadInput(
            f"these values of {name} do not compare: {ones} under {one!r} but {others} under "
            f"{other!r}. A value depends on the number of samples, the reference and the "
            "extractor: measure all points under the same, or look at one study at a time."
        )


class _Rivals(Generic[P]):
    """Measured points as two arrays, each [objectives, points]."""

    def __init__(self, placed: Sequence[_Placed[P]]) -> None:
        import numpy as np  # as heavy as moocore

        self._losses = np.array([place.losses for place in placed]).T
        self._spreads = np.array([place.spreads for place in placed]).T
        self._count = len(placed)

    def beat(self, place: _Placed[P]) -> bool:
        """Whether one of them dominates `place` significantly."""
        import numpy as np

        dominates = np.full(self._count, True)
        clear = np.full(self._count, False)
        own = zip(place.losses, place.spreads, strict=True)
        for losses, spreads, (loss, spread) in zip(self._losses, self._spreads, own, strict=False):
            lead = loss - losses
            dominates &= lead >= 0
            clear |= lead > SIGNIFICANT * np.sqrt(spreads**2 + spread**2)
        return bool((dominates & clear).any())
