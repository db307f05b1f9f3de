"""Derive: from a component class to everything it can be, by reflection over its fields.

    derive(Candidate)            # every decoder, sampling law and runtime, crossed
    derive("drafters")           # one of all drafters, each with its own knobs
    derive("drafters/jacobi")

The answer is the component itself with `pg.oneof` or `pg.manyof` where a value was open: nested (a
part holds parts) and conditional (a plug-in's knobs exist only where that plug-in is chosen).
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import pyglove as pg

from paretoken.spaces.candidate import Candidate
from paretoken.spaces.component import Component, Knob, Part
from paretoken.spaces.errors import BadInput
from paretoken.spaces.plugins import KINDS, component

_MOST_POINTS = 10  # of a range without a grid of its own

Report = Callable[[str, Exception], None]


def warn(tag: str, error: Exception) -> None:
    """The default report of a plug-in that cannot be used: a Python warning."""
    warnings.warn(f"plug-in {tag!r} is left out: {type(error).__name__}: {error}", stacklevel=2)


def derive(
    root: type[Component] | str = Candidate, report: Report = warn, modality: str = ""
) -> Any:
    """The symbolic tree of a class, of a tag `kind/name`, or of any plug-in of a kind.

    A plug-in that cannot be loaded or derived goes to `report` and is left out; a kind of which
    none works raises BadInput. A part never holds a component that it is itself inside of.
    modality: leaves out what is for another kind of model; "" takes everything.
    """
    deriving = _Deriving(report, modality)
    if isinstance(root, str):
        return deriving.open(component(root), ()) if "/" in root else deriving.one_of(root, ())
    return deriving.open(root, ())


class _Deriving:
    """One pass over the plug-ins."""

    def __init__(self, report: Report, modality: str) -> None:
        self._report, self._modality = report, modality

    def open(self, cls: type[Component], inside: tuple[type[Component], ...]) -> Component:
        values = {
            name: self.one_of(declared.kind, (*inside, cls))
            if isinstance(declared, Part)
            else choice(declared, points(declared))
            for name, declared in cls.fields.items()
        }
        return cls(**values)

    def one_of(self, kind: str, inside: tuple[type[Component], ...]) -> Any:
        found = []
        for name in KINDS[kind].names():
            try:
                cls = component(f"{kind}/{name}")
                if cls not in inside and self._fits(cls):
                    found.append(self.open(cls, inside))
            except Exception as error:  # somebody else's plug-in may raise anything
                self._report(f"{kind}/{name}", error)
        if not found:
            raise BadInput(f"no plug-in of {kind} works, so there is nothing to choose from.")
        return found[0] if len(found) == 1 else pg.oneof(found)

    def _fits(self, cls: type[Component]) -> bool:
        return not self._modality or cls.modality in ("", self._modality)


def choice(knob: Knob, among: list[Any]) -> Any:
    """The value that stands for "one of these" (or, for a `many` knob, for "so many of these")."""
    if knob.many:
        if knob.many == len(among):
            return list(among)
        return pg.manyof(knob.many, among, distinct=True, sorted=True)
    return among[0] if len(among) == 1 else pg.oneof(among)


def points(knob: Knob) -> list[Any]:
    """The values of a knob that a search tries: its grid, all its choices, or at most ten points.

    Bounds are always among them; a range without both bounds has only its default.
    """
    if knob.grid or knob.among:
        return list(knob.grid or knob.among)
    if isinstance(knob.default, bool):
        return [False, True]
    if knob.low is None or knob.high is None:
        return [knob.default]
    low, high = knob.low, knob.high
    whole = isinstance(knob.default, int)
    steps = min(_MOST_POINTS, int(high - low) + 1 if whole else _MOST_POINTS) - 1
    if steps == 0 or low == high:
        return [type(knob.default)(low)]
    if not knob.log:
        inner = [low + (high - low) * i / steps for i in range(1, steps)]
    elif low > 0:
        inner = [low * (high / low) ** (i / steps) for i in range(1, steps)]
    elif whole and low == 0:  # zero itself, and then equal ratios from one
        inner = [high ** (i / (steps - 1)) for i in range(steps - 1)]
    else:
        raise BadInput(f"a log scale from {low} has no equal ratios: give the knob a grid.")
    number = round if whole else _short
    return sorted({type(knob.default)(low), *map(number, inner), type(knob.default)(high)})


def _short(number: float) -> float:
    return float(f"{number:.6g}")
