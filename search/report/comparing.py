"""Two candidates side by side: how far apart they are, how sure that is, and what differs in them.

The difference is the second's number less the first's, with an interval of 95 %:

paired       Qualities are measured on samples of one seed after the other, the same for every
             candidate, so that their noise is largely shared. Of at least three seeds that both
             behaviours were measured with, the differences are taken seed by seed: Student's t.
one class    Both behave alike in this, so that they have one number; the difference is none.
independent  Otherwise, and for speeds always, which are timed at different moments: both means'
             standard errors, added in squares, times the normal law's 1.96. Where samples are in
             fact shared this is too wide rather than too narrow.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from paretoken.cache.store import Store
from paretoken.search.frames import settings_of
from paretoken.search.report.results import speed_first
from paretoken.spaces.errors import BadInput, UnknownName
from paretoken.spaces.records import BehaviourClass, Measurement, Quantity, StudyInfo, Trial

FEWEST_PAIRS = 3
_NORMAL = statistics.NormalDist().inv_cdf(0.975)


@dataclass(frozen=True)
class Difference:
    """One quantity of both. low, high: of the interval around `change`, None where none compares.

    how: "paired (n = 4)", "one class", "independent", or why they do not compare. better: "A", "B"
    or "", where the interval holds 0.
    """

    name: str
    unit: str
    a: Quantity | None
    b: Quantity | None
    change: float | None
    low: float | None
    high: float | None
    how: str
    better: str


@dataclass(frozen=True)
class Comparison:
    """Two finished trials of a study. settings: by path, where they differ; None: has none.

    alike: for "quality" and "speed", whether the store holds both to behave alike.
    """

    info: StudyInfo
    a: Trial
    b: Trial
    differences: tuple[Difference, ...]
    settings: Mapping[str, tuple[Any, Any]]
    alike: Mapping[str, bool]


def compare(store: Store, study: str, first: str, second: str) -> Comparison:
    """Compare two finished trials, each given by its number or its candidate's id, or its start.

    Objectives come first, then whatever else both or one of them have. Raises BadInput for what is
    no finished trial.
    """
    info = store.study(study)
    trials = [trial for trial in store.trials(study) if trial.state == "done"]
    a, b = (_named(trials, text) for text in (first, second))
    if a.number == b.number:
        raise BadInput(f"{first!r} and {second!r} are both number {a.number}: name two.")
    plain = next((trial for trial in trials if trial.number == 0), None)
    classes = [store.classes(study, trial.number) for trial in (a, b)]
    alike = {
        aspect: of_a.id == of_b.id
        for aspect in ("quality", "speed")
        if (of_a := classes[0].get(aspect)) and (of_b := classes[1].get(aspect))
    }
    objectives = [objective.name for objective in speed_first(info.objectives)]
    names = dict.fromkeys(["speedup", *objectives, *sorted({*a.quantities, *b.quantities})])
    asked = _Asked(store, a, b, plain, classes)
    differences = tuple(
        asked.difference(name) for name in names if name in a.quantities or name in b.quantities
    )
    mine, other = settings_of(a.tree), settings_of(b.tree)
    differing = {
        path: (mine.get(path), other.get(path))
        for path in sorted({*mine, *other})
        if mine.get(path) != other.get(path)
    }
    return Comparison(info, a, b, differences, differing, alike)


class _Asked:
    """What is known of both, quantity by quantity."""

    def __init__(
        self,
        store: Store,
        a: Trial,
        b: Trial,
        plain: Trial | None,
        classes: list[dict[str, BehaviourClass]],
    ) -> None:
        self._a, self._b, self._plain, self._classes = a, b, plain, classes
        self._counted = {
            found.id: _counted(store.measurements_of(found.id), found)
            for of in classes
            for found in of.values()
        }

    def difference(self, name: str) -> Difference:
        a, b = self._a.quantities.get(name), self._b.quantities.get(name)
        known = a or b
        unit, higher = (known.unit, known.higher) if known else ("", True)
        if a is None or b is None:
            lacking = "A" if a is None else "B"
            return Difference(name, unit, a, b, None, None, None, f"{lacking} has none", "")
        of_speed = name == "speedup" or any(
            name in of["speed"].quantities for of in self._classes if "speed" in of
        )
        if of_speed and self._place(self._a) != self._place(self._b):
            return self._incomparable(name, a, b, "timed on unlike devices or software")
        if a.comparable != b.comparable:
            return self._incomparable(name, a, b, f"not alike: {a.comparable} | {b.comparable}")
        change, half, how = self._interval(name, a, b, "speed" if of_speed else "quality")
        better = ""
        if abs(change) > half:
            better = "B" if (change > 0) == higher else "A"
        return Difference(name, unit, a, b, change, change - half, change + half, how, better)

    def _interval(
        self, name: str, a: Quantity, b: Quantity, aspect: str
    ) -> tuple[float, float, str]:
        """The difference, half of the interval's width, and how it was found."""
        one, other = (of.get(aspect) for of in self._classes)
        if one and other and one.id == other.id:
            return 0.0, 0.0, "one class"
        if aspect == "quality" and one and other:
            pairs = _by_seed(name, self._counted[one.id], self._counted[other.id])
            if len(pairs) >= FEWEST_PAIRS:
                spread = statistics.stdev(pairs) / math.sqrt(len(pairs))
                how = f"paired (n = {len(pairs)})"
                return statistics.fmean(pairs), student(len(pairs) - 1) * spread, how
        change = b.value - a.value
        spread = math.hypot(a.spread, b.spread)
        if name == "speedup":
            spread = self._ratio_spread(a, b, change)
        return change, _NORMAL * spread, "independent"

    def _ratio_spread(self, a: Quantity, b: Quantity, change: float) -> float:
        """Of the difference of two speed-ups, which share plain decoding's speed and its noise."""
        name = str(a.detail.get("of", ""))
        plain = self._plain.quantities.get(name) if self._plain else None
        speeds = [trial.quantities.get(name) for trial in (self._a, self._b)]
        if plain is None or None in speeds or 0.0 in (a.spread, b.spread):  # one of them is plain
            return math.hypot(a.spread, b.spread)
        own = [speed.spread for speed in speeds if speed is not None]
        return math.hypot(*own, change * plain.spread) / plain.value

    def _incomparable(self, name: str, a: Quantity, b: Quantity, why: str) -> Difference:
        return Difference(name, a.unit, a, b, None, None, None, why, "")

    @staticmethod
    def _place(trial: Trial) -> tuple[str, str] | None:
        place = trial.environment
        return (place.device, place.software) if place else None


def student(freedom: int) -> float:
    """The 0.975 quantile of Student's t, within 1 % from two degrees of freedom on.

    Source: Abramowitz and Stegun 1964, Handbook of Mathematical Functions, 26.7.5.
    """
    z = _NORMAL
    terms = (
        z,
        (z**3 + z) / 4,
        (5 * z**5 + 16 * z**3 + 3 * z) / 96,
        (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384,
        (79 * z**9 + 776 * z**7 + 1482 * z**5 - 1920 * z**3 - 945 * z) / 92160,
    )
    return float(sum(term / freedom**power for power, term in enumerate(terms)))


def _named(trials: list[Trial], text: str) -> Trial:
    """The trial of that number, or whose candidate's id starts so."""
    if text.isascii() and text.isdigit():
        for trial in trials:
            if trial.number == int(text[:18]):
                return trial
    found = [t for t in trials if text and t.candidate_id.startswith(text.lower())]
    if len({trial.candidate_id for trial in found}) > 1:
        ids = ", ".join(trial.candidate_id[:12] for trial in found[:4])
        raise BadInput(f"{len(found)} candidates of this study start with {text!r}: {ids}, …")
    if not found:
        numbers = [str(trial.number) for trial in trials]
        way = "Name a number or an id; 'paretoken front STUDY --all' tells them."
        raise UnknownName("finished trial of this study", text, numbers[:20], way)
    return found[0]


def _counted(measurements: Iterable[Measurement], of: BehaviourClass) -> list[Measurement]:
    """Those that a class's means rest on: once there are fresh ones, only they."""
    return [found for found in measurements if found.fresh or not of.fresh]


def _by_seed(name: str, ours: list[Measurement], theirs: list[Measurement]) -> list[float]:
    """The differences of a quantity, theirs less ours, for each seed that both were measured with.

    A seed draws the same samples only in equal numbers and under equal conditions.
    """

    def numbers(measurements: list[Measurement]) -> dict[tuple[int, int, str], float]:
        return {
            (found.seed, one.samples, one.comparable): one.value
            for found in measurements
            for one in found.quantities
            if one.name == name and math.isfinite(one.value)
        }

    mine, other = numbers(ours), numbers(theirs)
    return [other[key] - mine[key] for key in sorted(mine.keys() & other.keys())]
