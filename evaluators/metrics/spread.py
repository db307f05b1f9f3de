"""How far a score scatters from one sample set to the next: measured once on plain decoding.

A candidate with several disjoint sample sets has a spread of its own. One with a single set takes
it from the workload's calibration.
"""

from __future__ import annotations

import json
import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from paretoken.evaluators.metrics.distances import METRICS, distances
from paretoken.evaluators.metrics.features import Features
from paretoken.evaluators.metrics.reference import Reference
from paretoken.spaces.errors import BadInput, BadValue, Unreadable

# The spread of FID grows with its value (1-4 % at N = 500 whatever the value), the others' hardly.
RELATIVE = frozenset({"fid"})
FEWEST_FOR_POWER_LAW = 3
# Without a calibration the spread comes from so many disjoint sets, and the metrics need so many
# images in each of them.
SETS, FEWEST_IN_A_SET = 4, 20


@dataclass(frozen=True)
class Scatter:
    """Mean and standard deviation (of one set, n - 1 in the denominator) over disjoint sets."""

    mean: float
    std: float
    sets: int

    @classmethod
    def over(cls, values: Sequence[float]) -> Scatter:
        """The scatter of one metric over sets of equal size; raises BadInput below two sets."""
        if len(values) < 2:
            raise BadInput(
                f"a spread needs at least 2 disjoint sample sets, got {len(values)}: draw more "
                "images, or pass the workload's calibration."
            )
        return cls(statistics.fmean(values), statistics.stdev(values), len(values))


def check_disjoint(samples: int) -> None:
    """Raise BadValue for fewer images than the disjoint sets need."""
    fewest = SETS * FEWEST_IN_A_SET
    if samples < fewest:
        raise BadValue(
            f"without a calibration quality needs --samples {fewest} or more, not {samples}: the "
            f"spread comes from {SETS} disjoint sets of at least {FEWEST_IN_A_SET} images."
        )


def scatter_over_sets(sets: Sequence[Features], reference: Reference) -> dict[str, Scatter]:
    """The scatter of each metric over k >= 2 disjoint feature sets of equal N."""
    if len({len(features) for features in sets}) > 1:
        raise BadInput(
            f"sample sets must be of equal size, got {[len(features) for features in sets]}: "
            "cut them with Features.split."
        )
    values = [distances(features, reference) for features in sets]
    return {metric: Scatter.over([value[metric] for value in values]) for metric in METRICS}


@dataclass(frozen=True)
class Calibration:
    """The scatter of plain decoding by metric and N, for one extractor and reference digest."""

    extractor: str
    reference: str
    points: Mapping[str, Mapping[int, Scatter]]

    @classmethod
    def of(cls, sets: Mapping[int, Sequence[Features]], reference: Reference) -> Calibration:
        """Measured on disjoint sets of plain decoding: N -> at least two sets of N images."""
        by_n = {n: scatter_over_sets(of_n, reference) for n, of_n in sorted(sets.items())}
        points = {metric: {n: by_n[n][metric] for n in by_n} for metric in METRICS}
        return cls(reference.extractor, reference.digest, points)

    def std(self, metric: str, n: int, value: float) -> tuple[float, str]:
        """The standard deviation of one score at N = n, and how it was found.

        FID: the calibrated std / mean, times `value`; the others: the calibrated std as it is. KID,
        which is near 0 for plain decoding, scatters far from it as FID does: both together.
        At other N above the smallest calibrated one the spread is a power law a * N^b fitted to at
        least three points; below it, or with fewer points, raises BadInput.
        """
        if metric == "kid":
            near, spread_from = self._std(metric, n, value)
            far, _ = self._std("fid", n, value)
            return math.hypot(near, far), spread_from
        return self._std(metric, n, value)

    def _std(self, metric: str, n: int, value: float) -> tuple[float, str]:
        scale = abs(value) if metric in RELATIVE else 1.0
        calibrated = self.points.get(metric, {})
        spreads = {
            size: point.std / abs(point.mean) if metric in RELATIVE else point.std
            for size, point in calibrated.items()
        }
        if n in spreads:
            return spreads[n] * scale, f"calibrated at N={n} on {calibrated[n].sets} sets"
        fitted = {size: spread for size, spread in spreads.items() if spread > 0}
        if len(fitted) >= FEWEST_FOR_POWER_LAW and min(fitted) < n:
            slope, intercept = statistics.linear_regression(
                [math.log(size) for size in fitted],
                [math.log(spread) for spread in fitted.values()],
            )
            spread = math.exp(intercept + slope * math.log(n))
            sizes = ", ".join(str(size) for size in sorted(fitted))
            return spread * scale, f"power law N^{slope:.2f} through N={sizes}"
        raise BadInput(
            f"the spread of {metric} is calibrated at N={sorted(spreads)}, not at {n}: use one of "
            f"these or a larger one, or calibrate at {FEWEST_FOR_POWER_LAW} or more N up to {n}."
        )

    def save(self, path: Path) -> None:
        """Write as JSON: metric -> N -> mean, std, sets."""
        path.write_text(json.dumps(asdict(self), indent=1) + "\n", encoding="utf-8")

    @classmethod
    def load(cls, path: Path) -> Calibration:
        """Read what `save` wrote; raises Unreadable where it is missing or damaged."""
        try:
            stored = json.loads(path.read_text(encoding="utf-8"))
            points = {
                metric: {int(n): Scatter(**scatter) for n, scatter in by_n.items()}
                for metric, by_n in stored["points"].items()
            }
            return cls(stored["extractor"], stored["reference"], points)
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise Unreadable(
                f"the calibration {path} is missing or damaged ({error}): make it again with "
                "Calibration.of."
            ) from error
