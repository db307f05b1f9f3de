"""The batch table: which draft length was fastest at which batch size, as a schedule for servers.

Read off measured points of one family: candidates that differ in draft length and batch size alone,
and plain decoding, which drafts nothing. At each measured batch size the fastest length is taken,
unless noise does not tell the one before from it (2 standard deviations, as on the front): a
schedule that changes for noise is worse than one that stays. Between two measured batch sizes the
lengths cross where the logarithm of their speeds' ratio, a straight line over the logarithm of the
batch size, is zero. Nothing is said beyond the largest measured batch size: engines differ there.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Any

from paretoken.cache.front import SIGNIFICANT
from paretoken.spaces.errors import BadInput
from paretoken.spaces.records import Quantity, Trial


@dataclass(frozen=True)
class Row:
    """From batch size `first` to `last`, both included, so many drafts; 0: none."""

    first: int
    last: int
    drafts: int


@dataclass(frozen=True)
class Crossover:
    """Where one length overtakes another. earliest, latest: the same, one standard deviation off.

    They lie within the two measured batch sizes; where a length was measured at one of them only,
    nothing more is known than that.
    """

    before: int
    after: int
    batch: float
    earliest: float
    latest: float


@dataclass(frozen=True)
class Schedule:
    """Rows from batch size 1 on, without gaps. points: batch size -> drafts -> speed, as measured.

    speed: name of the quantity. The last row ends at the largest measured batch size.
    """

    speed: str
    rows: tuple[Row, ...]
    crossovers: tuple[Crossover, ...]
    points: Mapping[int, Mapping[int, Quantity]]

    @property
    def longest(self) -> int:
        return max(row.drafts for row in self.rows)

    def told(self) -> str:
        """The rows in short: "1-4: 4, 5-8: 2"."""
        return ", ".join(f"{row.first}-{row.last}: {row.drafts}" for row in self.rows)

    def plain(self) -> dict[str, Any]:
        """The schedule as plain JSON, with what it rests on."""
        return {
            "speed": self.speed,
            "rows": [asdict(row) for row in self.rows],
            "crossovers": [asdict(crossover) for crossover in self.crossovers],
            "points": [
                {
                    "batch": batch,
                    "drafts": drafts,
                    "value": quantity.value,
                    "spread": quantity.spread,
                    "samples": quantity.samples,
                }
                for batch, lengths in self.points.items()
                for drafts, quantity in lengths.items()
            ],
        }


def measured(trial: Trial, trials: Iterable[Trial], speed: str) -> dict[int, dict[int, Quantity]]:
    """Batch size -> drafts -> speed, of the trial's family and of plain decoding under its law.

    Raises BadInput where there are fewer than two batch sizes with lengths to choose between.
    """
    family, plain = _family(trial.tree), _family(_undrafted(trial.tree))
    found: dict[int, dict[int, Quantity]] = {}
    for other in trials:
        quantity = other.quantities.get(speed)
        if other.state != "done" or quantity is None:
            continue
        drafter = other.tree["decoder"]["drafter"]
        own = _family(other.tree)
        if own == plain:
            drafts = 0
        elif own == family and "window" in drafter:
            drafts = int(drafter["window"]) - 1
        else:
            continue
        found.setdefault(int(other.tree["runtime"]["batch"]), {})[drafts] = quantity
    told = {
        batch: dict(sorted(found[batch].items()))
        for batch in sorted(found)
        if len(found[batch]) > 1
    }
    if len(told) < 2:
        name = str(trial.tree["decoder"]["drafter"]["is"]).rpartition("/")[2]
        have = ", ".join(f"{b}: {sorted(found[b])}" for b in sorted(found)) or "nothing"
        raise BadInput(
            "a batch table needs two draft lengths or more at two batch sizes or more, of one "
            f"candidate otherwise the same; measured are (batch: drafts) {have}. Search such points"
            f" by a grid: paretoken search … --algorithm grid --set runtime.batch=1,4,16 --set "
            f"decoder.drafter=none,{name} --set {name}.window=3,5,9, all else fixed, without "
            "--batch."
        )
    return told


def _family(tree: Mapping[str, Any]) -> str:
    """Settings without draft length and batch size."""
    bare = json.loads(json.dumps(tree))
    bare["decoder"]["drafter"].pop("window", None)
    bare["runtime"].pop("batch", None)
    return json.dumps(bare, sort_keys=True)


def _undrafted(tree: Mapping[str, Any]) -> dict[str, Any]:
    """The tree of plain decoding under the same law and runtime."""
    parts = {"drafter": "none", "verifier": "exact", "residual": "exact", "length": "fixed"}
    decoder = {name: {"is": f"{name}s/{what}"} for name, what in parts.items()}
    return {**tree, "decoder": {"is": "decoders/speculative", **decoder}}


def schedule(points: Mapping[int, Mapping[int, Quantity]], speed: str) -> Schedule:
    """The schedule of measured points, which are in order; larger speeds are better."""
    chosen: list[tuple[int, int]] = []
    for batch, lengths in points.items():
        chosen.append((batch, _fastest(lengths, chosen[-1][1] if chosen else None)))
    rows, crossovers = [], []
    first = 1
    for (batch, drafts), (later, following) in pairwise(chosen):
        if following == drafts:
            continue
        crossover = _crossover(points, batch, later, drafts, following)
        crossovers.append(crossover)
        # The length of a measured batch size is the one that was chosen there.
        begins = min(later, max(batch + 1, math.ceil(crossover.batch)))
        rows.append(Row(first, begins - 1, drafts))
        first = begins
    rows.append(Row(first, chosen[-1][0], chosen[-1][1]))
    return Schedule(speed, tuple(rows), tuple(crossovers), points)


def _fastest(lengths: Mapping[int, Quantity], before: int | None) -> int:
    """The fastest length; where noise hides which it is, the one before, else the shortest."""
    best = max(lengths.values(), key=lambda quantity: quantity.value)
    tied = [
        drafts
        for drafts, found in lengths.items()
        if best.value - found.value <= SIGNIFICANT * math.hypot(best.spread, found.spread)
    ]
    return before if before in tied and before is not None else min(tied)


def _crossover(
    points: Mapping[int, Mapping[int, Quantity]], batch: int, later: int, before: int, after: int
) -> Crossover:
    ends = [_lead(points[at], before, after) for at in (batch, later)]
    if ends[0] is None or ends[1] is None:
        return Crossover(before, after, float(later), float(batch), float(later))
    (lead, spread), (final, final_spread) = ends[0], ends[1]
    where = [
        _zero(batch, later, lead + off * spread, final + off * final_spread) for off in (0, 1, -1)
    ]
    return Crossover(before, after, *where)


def _lead(lengths: Mapping[int, Quantity], before: int, after: int) -> tuple[float, float] | None:
    """ln(speed after / speed before) with its spread, of first order."""
    if before not in lengths or after not in lengths:
        return None
    one, other = lengths[before], lengths[after]
    return math.log(other.value / one.value), math.hypot(
        other.spread / other.value, one.spread / one.value
    )


def _zero(batch: int, later: int, lead: float, final: float) -> float:
    """Where a line over ln(batch) from `lead` to `final` is zero, within the two."""
    share = 0.0 if lead >= 0 else 1.0 if final <= 0 else lead / (lead - final)
    return math.exp(math.log(batch) + share * (math.log(later) - math.log(batch)))
