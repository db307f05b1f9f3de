"""The quality of generated or reconstructed images: every metric with its spread, as records.

rFID is the same call on reconstructions; PSNR, which needs the originals, is in `psnr`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from paretoken.evaluators.metrics.comparable import MetricKey
from paretoken.evaluators.metrics.distances import distances
from paretoken.evaluators.metrics.features import Features
from paretoken.evaluators.metrics.reference import Reference
from paretoken.evaluators.metrics.spread import Calibration, scatter_over_sets
from paretoken.spaces.errors import BadInput
from paretoken.spaces.objectives import Objective
from paretoken.spaces.records import Quantity

OBJECTIVES: dict[str, Objective] = {
    objective.name: objective
    for objective in (
        Objective("fid", "squared feature units", False, "Frechet distance to the reference"),
        Objective("kid", "squared MMD", False, "kernel distance to the reference, unbiased"),
        Objective("isc", "exp(nats)", True, "Inception score: sure and varied classes"),
        Objective("precision", "fraction", True, "generated images inside the real manifold"),
        Objective("recall", "fraction", True, "real images inside the generated manifold"),
    )
}


def quality(
    sets: Sequence[Features], reference: Reference, calibration: Calibration | None = None
) -> tuple[Quantity, ...]:
    """One quantity for each of OBJECTIVES, from k disjoint sample sets of N images each.

    Value: the mean over the sets. Spread: one standard deviation of that mean: over the sets where
    k >= 2, from the calibration where k = 1. A single set without a calibration is refused
    (BadInput), for a number without a spread cannot be ranked. `samples` is k * N; `detail` has n,
    sets, extractor, reference and spread_from. Raises as `distances` does.
    """
    if not sets:
        raise BadInput("quality needs at least one sample set, got none: extract features first.")
    n, k = len(sets[0]), len(sets)
    quantities = []
    if k == 1:
        if calibration is None:
            raise BadInput(
                "one sample set has no spread of its own: pass the workload's calibration, or cut "
                "the images into two or more sets with Features.split."
            )
        _require_same_conditions(calibration, reference)
        for name, value in distances(sets[0], reference).items():
            std, spread_from = calibration.std(name, n, value)
            quantities.append(_quantity(name, value, std, n, k, reference, spread_from))
    else:
        for name, scatter in scatter_over_sets(sets, reference).items():
            std = scatter.std / math.sqrt(k)
            spread_from = f"std over {k} sets / sqrt({k})"
            quantities.append(_quantity(name, scatter.mean, std, n, k, reference, spread_from))
    return tuple(quantities)


def _require_same_conditions(calibration: Calibration, reference: Reference) -> None:
    wanted = (reference.extractor, reference.digest)
    if (calibration.extractor, calibration.reference) != wanted:
        raise BadInput(
            f"a calibration holds for one extractor and reference, {calibration.extractor} and "
            f"{calibration.reference}, not {wanted[0]} and {wanted[1]}: calibrate again."
        )


def _quantity(
    name: str, value: float, std: float, n: int, k: int, reference: Reference, spread_from: str
) -> Quantity:
    objective = OBJECTIVES[name]
    return Quantity(
        name=name,
        value=value,
        spread=std,
        samples=k * n,
        unit=objective.unit,
        higher=objective.higher,
        comparable=str(MetricKey(name, reference.extractor, n, reference.digest)),
        detail={
            "n": n,
            "sets": k,
            "extractor": reference.extractor,
            "reference": reference.digest,
            "spread_from": spread_from,
        },
    )
