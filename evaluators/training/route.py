"""Routes: the steps that lead to one shipped model, and the keys of everything on the way.

A key is a digest of what determines the weights after so many steps: the model and its start, the
data and their order, the optimizer, and the data set and rate of every step so far. Two routes that
begin alike have the same keys for as long as they do, so what one has trained the other goes on
from: branches that anneal from one trunk train it once, and equal rates under another name are the
same artefact. A rate counts, and is trained with, as a float32: what rounding makes of two ways to
write one formula (1e-16) is far below that, any difference that shows in training far above.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import xxhash
from numpy.typing import NDArray

from paretoken.evaluators.training.curves import length, rates
from paretoken.evaluators.training.schedule import Leg

_VERSION = b"paretoken train key 1"


@dataclass(frozen=True)
class Route:
    """What is trained, step by step.

    stage: int32 [n], the data set of each step. rate: float32 [n]. place: int32 [n], how many steps
    of the route had this data set before. leaves: the step from which on the model is annealed; n
    where it is not.
    """

    stage: NDArray[np.int32]
    rate: NDArray[np.float32]
    place: NDArray[np.int32]
    leaves: int

    def __len__(self) -> int:
        return len(self.stage)

    def keys(self, identity: Mapping[str, Any], seed: int) -> list[str]:
        """The train key after 0, 1, …, n steps. identity: all else that determines the weights."""
        state = xxhash.xxh3_128(_VERSION)
        state.update(json.dumps([identity, seed], sort_keys=True).encode())
        stages, rate = self.stage.astype("<i4"), self.rate.astype("<f4")
        found = [state.hexdigest()]
        for step in range(len(self)):
            state.update(stages[step].tobytes() + rate[step].tobytes())
            found.append(state.hexdigest())
        return found


def routes(legs: tuple[Leg, ...]) -> tuple[Route, ...]:
    """The way to the model that each leg ships: all trunks up to it, then its anneal."""
    found: list[Route] = []
    trunk: list[tuple[int, NDArray[np.float32]]] = []
    for stage, leg in enumerate(legs):
        trunk.append((stage, rates(leg.trunk).astype(np.float32)))
        parts = [*trunk, (stage, rates(leg.anneal).astype(np.float32))]
        stages = np.concatenate([np.full(len(part), of, np.int32) for of, part in parts])
        rate = np.concatenate([part for _, part in parts])
        place = np.concatenate(
            [np.arange((stages == of).sum(), dtype=np.int32) for of in range(stage + 1)]
        )
        found.append(Route(stages, rate, place, len(rate) - length(leg.anneal)))
    return tuple(found)


def steps_in_all(found: tuple[Route, ...]) -> int:
    """Optimizer steps that all the routes take, with what they share counted once."""
    longest = 0
    total = 0
    for route in found:  # each begins with the trunk of the one before
        total += len(route) - longest
        longest = route.leaves
    return total
