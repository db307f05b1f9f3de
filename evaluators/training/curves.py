"""Curves: the phases that learning-rate schedules are made of, each with its exact formula.

A phase goes from rate `start` to rate `end` while u runs from 0 to 1; at step i of it, counted from
0, u is (begun + i) / of. As everywhere in the field the last step stops short of u = 1: the rate
`end` is that of the step after it.
Sources: Hugging Face transformers, optimization.py (linear, cosine, 1-sqrt, and the reciprocal
root); Singh et al. (CoLLAs 2025, arXiv:2503.02844) for the infinite schedule's cool-down by
1/sqrt(1 + 10 u) and its exponential anneal; Hägele et al. (2024, arXiv:2405.18392) for 1-sqrt.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from paretoken.spaces.errors import BadValue, UnknownName

Rates = NDArray[np.float64]

_TIMESCALE = 10.0  # of the cool-down by an inverse square root


@dataclass(frozen=True)
class Phase:
    """So many steps of one curve.

    shape: a name in SHAPES. start, end: rates. of: steps of the whole curve, a float where it is no
    whole number of them. begun: how far into the curve, in steps, the phase begins.
    """

    shape: str
    steps: int
    start: float
    end: float
    of: float
    begun: float = 0.0

    def rates(self) -> Rates:
        """The rate at each step [steps]; raises UnknownName and BadValue."""
        if self.shape not in SHAPES:
            raise UnknownName("shape of a learning-rate curve", self.shape, SHAPES)
        if self.shape in NEVER_ZERO and self.steps and self.end <= 0.0:
            raise BadValue(
                f"a rate that falls by the curve {self.shape!r} never reaches 0, and its end is "
                f"{self.end}: choose a floor above 0, or one of the shapes linear, cosine and "
                "one_minus_sqrt."
            )
        u = (self.begun + np.arange(self.steps, dtype=np.float64)) / self.of
        return np.broadcast_to(SHAPES[self.shape](u, self.start, self.end), u.shape).copy()

    def plain(self) -> dict[str, Any]:
        """The phase as plain JSON."""
        return asdict(self)


def _inverse_root(u: Rates, a: float, b: float) -> Rates:
    fallen = 1.0 / np.sqrt(1.0 + _TIMESCALE * u) - 1.0
    return a + (b - a) * fallen / (1.0 / math.sqrt(1.0 + _TIMESCALE) - 1.0)


SHAPES: dict[str, Callable[[Rates, float, float], Any]] = {
    "constant": lambda u, a, b: a,
    "linear": lambda u, a, b: a + (b - a) * u,
    "cosine": lambda u, a, b: b + (a - b) * 0.5 * (1.0 + np.cos(np.pi * u)),
    "one_minus_sqrt": lambda u, a, b: b + (a - b) * (1.0 - np.sqrt(u)),
    "exponential": lambda u, a, b: a * (b / a) ** u,
    "harmonic": lambda u, a, b: 1.0 / (u / b + (1.0 - u) / a),
    "inverse_root": _inverse_root,
    # For ever: it has a time scale `of` in place of an end.
    "reciprocal_root": lambda u, a, b: a / np.sqrt(1.0 + u),
}
NEVER_ZERO = ("exponential", "harmonic")
ANNEALS = ("exponential", "linear", "one_minus_sqrt", "cosine", "harmonic")


def curve(shape: str, steps: int, start: float, end: float) -> tuple[Phase, ...]:
    """A whole curve of so many steps; nothing where there are none. What stays is constant."""
    shape = "constant" if start == end else shape
    return (Phase(shape, steps, start, end, steps),) if steps > 0 else ()


def rates(phases: Iterable[Phase]) -> Rates:
    """The rate at every step of phases in a row."""
    return np.concatenate([np.empty(0), *(phase.rates() for phase in phases)])


def length(phases: Iterable[Phase]) -> int:
    """Steps of phases in a row."""
    return sum(phase.steps for phase in phases)


def cut(phases: Iterable[Phase], step: int) -> tuple[tuple[Phase, ...], tuple[Phase, ...]]:
    """The phases before that step, and those from it on; one that it falls into is in both."""
    before: list[Phase] = []
    after: list[Phase] = []
    for phase in phases:
        here = min(max(step, 0), phase.steps)
        step -= phase.steps
        if here > 0:
            before.append(replace(phase, steps=here))
        if here < phase.steps:
            after.append(replace(phase, steps=phase.steps - here, begun=phase.begun + here))
    return tuple(before), tuple(after)
