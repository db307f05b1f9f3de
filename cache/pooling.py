"""Observations into classes: any number of them, in their order, in a few statements.

One writer at a time changes the store (see `connection`), so what is read here cannot change
before it is written back.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from sqlalchemy import bindparam, select
from sqlalchemy.orm import Session

from paretoken.cache.bulk import slices
from paretoken.cache.classes import Family
from paretoken.cache.disagreements import deviation
from paretoken.cache.means import RunningMean
from paretoken.cache.observations import ASPECTS, check_measurement
from paretoken.cache.parts import Dissent, Part, Placed
from paretoken.cache.schema import CandidateRow, ClassRow, MeanRow, MeasurementRow
from paretoken.cache.writing import write_placed
from paretoken.spaces.errors import BadInput
from paretoken.spaces.records import Disagreement, Measurement

_CANDIDATES = select(CandidateRow.id).where(
    CandidateRow.id.in_(bindparam("candidates", expanding=True))
)
_PARTS = (
    select(
        ClassRow.aspect,
        ClassRow.key,
        ClassRow.device,
        ClassRow.software,
        ClassRow.split,
        ClassRow.id,
        ClassRow.count,
        ClassRow.fresh,
        ClassRow.seconds,
    )
    .where(ClassRow.aspect.in_(ASPECTS), ClassRow.key.in_(bindparam("keys", expanding=True)))
    .order_by(ClassRow.split)
)
_MEANS = select(
    MeanRow.class_id,
    MeanRow.name,
    MeanRow.count,
    MeanRow.mean,
    MeanRow.squares,
    MeanRow.variance,
    MeanRow.samples,
).where(MeanRow.class_id.in_(bindparam("classes", expanding=True)))


def record(
    session: Session, observations: Sequence[tuple[str, Measurement]]
) -> list[tuple[int, Disagreement | None]]:
    """Store observations, each with its candidate; returns their classes and disagreements.

    Raises MeasurementFailed for a quantity that is NaN or infinite, and BadInput for a candidate
    that nobody proposed; nothing is stored then.
    """
    if not observations:
        return []
    for _, observed in observations:
        check_measurement(observed)
    _check_candidates(session, {candidate_id for candidate_id, _ in observations})
    families = [Family.of(observed) for _, observed in observations]
    pools = _Pools(session, families)
    placed = [
        pools.place(candidate_id, family, observed)
        for (candidate_id, observed), family in zip(observations, families, strict=True)
    ]
    write_placed(session, placed)
    return [(each.part.id, each.disagreement) for each in placed]


class _Pools:
    """The classes that a batch of observations touches."""

    def __init__(self, session: Session, families: Iterable[Family]) -> None:
        self._session = session
        self._parts: dict[Family, list[Part]] = {family: [] for family in families}
        stored = {part.id: part for part in self._read_parts()}
        self._read_means(stored)
        self._home = self._read_homes(stored)

    def place(self, candidate_id: str, family: Family, observed: Measurement) -> Placed:
        """Count an observation in its class, which may be a new one."""
        parts = self._parts[family]
        if not parts:
            parts.append(Part(family, split=0))
        part = self._home.get((candidate_id, family), parts[0])
        off, dissent = deviation(observed, part.means), None
        if off is not None:
            dissent = Dissent(part, off)
            if not self._has_observed(part, candidate_id):
                part = Part(family, split=len(parts))
                parts.append(part)
                self._home[candidate_id, family] = part
        part.add(candidate_id, observed)
        return Placed(candidate_id, observed, part, dissent)

    def _has_observed(self, part: Part, candidate_id: str) -> bool:
        if candidate_id in part.members or not part.id:
            return candidate_id in part.members
        seen = select(MeasurementRow.id).where(
            MeasurementRow.candidate_id == candidate_id, MeasurementRow.class_id == part.id
        )
        return self._session.scalar(seen.limit(1)) is not None

    def _read_parts(self) -> Iterable[Part]:
        for some in slices(sorted({family.key for family in self._parts})):
            rows = self._session.connection().execute(_PARTS, {"keys": some})
            for aspect, key, device, software, split, class_id, count, fresh, seconds in rows:
                family = Family(aspect, key, device, software)
                if family in self._parts:
                    part = Part(family, split, class_id, count, fresh, seconds)
                    self._parts[family].append(part)
                    yield part

    def _read_means(self, stored: dict[int, Part]) -> None:
        for some in slices(list(stored)):
            rows = self._session.connection().execute(_MEANS, {"classes": some})
            for class_id, name, count, mean, squares, variance, samples in rows:
                found = RunningMean(count, mean, squares, variance, samples)
                stored[class_id].means[name] = found

    def _read_homes(self, stored: dict[int, Part]) -> dict[tuple[str, Family], Part]:
        """Where those belong that were split off: each is alone in its part, and stays there."""
        owner = (
            select(MeasurementRow.candidate_id)
            .where(MeasurementRow.class_id == ClassRow.id)
            .limit(1)
            .scalar_subquery()
        )
        homes: dict[tuple[str, Family], Part] = {}
        for some in slices([part.id for part in stored.values() if part.split]):
            owned = select(owner, ClassRow.id).where(ClassRow.id.in_(some))
            for candidate_id, class_id in self._session.execute(owned):
                homes[candidate_id, stored[class_id].family] = stored[class_id]
        return homes


def _check_candidates(session: Session, candidates: set[str]) -> None:
    for some in slices(sorted(candidates)):
        known = set(session.connection().scalars(_CANDIDATES, {"candidates": some}))
        for candidate_id in some:
            if candidate_id not in known:
                raise BadInput(f"no candidate {candidate_id!r} is stored: propose it first.")
