"""The knee of a front: where giving up more of one objective begins to buy little of the others.

Source: Das 1999, "On characterizing the 'knee' of the Pareto curve based on Normal-Boundary
Intersection", Structural Optimization 18, 107-115 (no arXiv): the point farthest from the line, or
plane, through the best point of each objective.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from paretoken.cache.front import P
from paretoken.spaces.errors import BadInput
from paretoken.spaces.objectives import Objective

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_LEAST = 1e-9  # of the normalised range: what rounding leaves of a point on the line


def knee(front: Sequence[P], objectives: Sequence[Objective]) -> tuple[P, float]:
    """The point of a front that lies farthest before the plane through its extremes, and how far.

    Every objective is normalised to the front's own range first, so that units do not matter: the
    distance is between 0 and 0.71 for two objectives. An objective in which all are equal is left
    out. Of equally far ones the first. Raises BadInput where no point lies before the plane, as on
    a front of two points or one that bulges inwards.
    """
    import numpy as np  # a tenth of a second, so not on top

    losses = np.array(
        [[o.loss(point.quantities[o.name].value) for o in objectives] for point in front]
    ).reshape(len(front), len(objectives))
    if len(front):
        least, most = losses.min(axis=0), losses.max(axis=0)
        varied = most > least
        scaled = (losses[:, varied] - least[varied]) / (most - least)[varied]
        if scaled.shape[1] > 1:
            normal = _normal(scaled[scaled.argmin(axis=0)])
            before = (1 - scaled @ normal) / np.linalg.norm(normal)
            farthest = int(np.argmax(np.round(before, 9)))
            if before[farthest] > _LEAST:
                return front[farthest], float(before[farthest])
    raise BadInput(
        f"there is no knee on a front of {len(front)}: no point lies before the line between its "
        "extremes. Say what speed may cost instead, with --budget or --where."
    )


def _normal(extremes: NDArray[np.floating]) -> NDArray[np.floating]:
    """n such that n·e = 1 for every extreme e; (1, …, 1) where they span no such plane."""
    import numpy as np

    flat = np.ones(extremes.shape[1])
    try:
        normal = np.linalg.solve(extremes, flat)
    except np.linalg.LinAlgError:
        return flat
    return normal if np.all(normal > 0) else flat
