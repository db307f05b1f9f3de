"""FID, KID, ISC, precision and recall of one set of features, with torch-fidelity's definitions.

Its function for ISC is called, never its cache: that one is keyed by names alone and returns old
numbers when the content behind a name changes. What it computes on the CPU only is in `frechet`,
`kernel_distance` and `manifold`, and tested against it.

Sources: ISC, Salimans et al. (arXiv:1606.03498); precision and recall, Kynkäänniemi et al.
(arXiv:1904.06991).
"""

from __future__ import annotations

import math

from torch_fidelity.metric_isc import (  # type: ignore[import-untyped]
    KEY_METRIC_ISC_MEAN,
    isc_features_to_metric,
)

from paretoken.evaluators.metrics.features import Features
from paretoken.evaluators.metrics.frechet import frechet_distance
from paretoken.evaluators.metrics.kernel_distance import kernel_distance
from paretoken.evaluators.metrics.manifold import inside, radii
from paretoken.evaluators.metrics.reference import Reference
from paretoken.spaces.errors import BadInput, MeasurementFailed

METRICS = ("fid", "kid", "isc", "precision", "recall")
SEED = 2020  # of KID's subsets and ISC's shuffle: the same draws for every candidate
ISC_SPLITS = 10
KID_SUBSETS = 50
KID_LARGEST_SUBSET = 1000  # the size of the KID paper; larger ones only cost time
FEWEST = 2 * ISC_SPLITS  # images: two in each part of ISC


def distances(features: Features, reference: Reference) -> dict[str, float]:
    """Each of METRICS for N generated images against the reference.

    KID: 50 subsets of half of N (of the reference's rows where those are fewer), at most 1,000.
    Precision and recall: k = 3, against as many rows of the reference as there are images.
    N < D is fine, but FID is biased upwards by about 1/N, so only equal N compare.
    Raises BadInput where extractors differ or N is below 20, MeasurementFailed where a metric has
    no finite value.
    """
    n, seen = len(features), reference.on(features.pool.device)
    rows = seen.rows
    if features.extractor != reference.extractor:
        raise BadInput(
            f"features and reference must come from one extractor, got {features.extractor} and "
            f"{reference.extractor}: make the reference again with the extractor in use."
        )
    if min(n, len(rows)) < FEWEST:
        raise BadInput(
            f"the metrics need at least {FEWEST} generated images and rows of the reference, got "
            f"{n} and {len(rows)}: draw more."
        )
    pool = features.pool.double()
    kid = kernel_distance(
        pool,
        rows,
        subsets=KID_SUBSETS,
        size=min(min(n, len(rows)) // 2, KID_LARGEST_SUBSET),
        seed=SEED,
    )
    isc = isc_features_to_metric(features.logits, splits=ISC_SPLITS, shuffle=True, rng_seed=SEED)
    real = rows[:n]
    values = {
        "fid": frechet_distance(features.pool, reference),
        "kid": kid,
        "isc": isc[KEY_METRIC_ISC_MEAN],
        "precision": inside(pool, real, seen.radii(n)),
        "recall": inside(real, pool, radii(pool)),
    }
    for name, value in values.items():
        if not math.isfinite(value):
            raise MeasurementFailed("nan", f"{name} is {value}: look at the images.")
    return values
