"""Disagreements: when noise does not explain an observation, and those that were recorded."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from sqlalchemy import or_, select, union
from sqlalchemy.orm import Session

from paretoken.cache.means import RunningMean
from paretoken.cache.schema import (
    DisagreementRow,
    MeasurementRow,
    QuantityRow,
    TrialRow,
)
from paretoken.spaces.records import Disagreement, Measurement, Quantity

# An observation disagrees beyond so many standard deviations of the difference: about once in
# 16,000 by chance, were spreads known exactly; they are estimates, so a few more.
SIGMAS = 4.0
# Timings drift from run to run (clocks, neighbours) by more than a run's own repeats show.
SPEED_DRIFT = 0.25
_EXACT = 1e-9  # relative: counts and digests of the same, through another order of additions


@dataclass(frozen=True)
class Deviation:
    """How far an observation's quantity lies from the mean of a class before it was counted."""

    name: str
    value: float
    expected: float
    sigmas: float


def deviation(observed: Measurement, means: Mapping[str, RunningMean]) -> Deviation | None:
    """The quantity that disagrees most with the class, None where noise explains all of them.

    A quantity whose detail says "aside" is told beside the others and depends on no candidate.
    """
    drift = SPEED_DRIFT if observed.aspect == "speed" else 0.0
    found = [
        Deviation(seen.name, seen.value, mean.mean, sigmas)
        for seen in observed.quantities
        if not seen.detail.get("aside")
        and (mean := means.get(seen.name)) is not None
        and (sigmas := _sigmas(seen, mean)) > SIGMAS
        and abs(seen.value - mean.mean) > drift * abs(mean.mean)
    ]
    return max(found, key=lambda each: each.sigmas, default=None)


def _sigmas(seen: Quantity, mean: RunningMean) -> float:
    noise = math.hypot(seen.spread, mean.spread)
    if noise:
        return abs(seen.value - mean.mean) / noise
    return 0.0 if math.isclose(seen.value, mean.mean, rel_tol=_EXACT) else math.inf


def read_disagreements(session: Session, study_id: int) -> list[Disagreement]:
    """Those about classes that a study's trials point at, or of candidates that it proposed."""
    in_study = TrialRow.study_id == study_id
    classes = union(
        select(TrialRow.quality_id).where(in_study, TrialRow.quality_id.is_not(None)),
        select(TrialRow.speed_id).where(in_study, TrialRow.speed_id.is_not(None)),
    )
    rows = session.execute(
        select(DisagreementRow, MeasurementRow, QuantityRow.value)
        .join(MeasurementRow, DisagreementRow.measurement_id == MeasurementRow.id)
        .join(
            QuantityRow,
            (QuantityRow.measurement_id == MeasurementRow.id)
            & (QuantityRow.name == DisagreementRow.name),
        )
        .where(
            or_(
                DisagreementRow.class_id.in_(classes),
                DisagreementRow.split_id.in_(classes),
                MeasurementRow.candidate_id.in_(select(TrialRow.candidate_id).where(in_study)),
            )
        )
        .order_by(DisagreementRow.id)
    )
    return [
        Disagreement(
            candidate_id=measurement.candidate_id,
            aspect=measurement.aspect,
            name=row.name,
            value=value,
            expected=row.expected,
            sigmas=row.sigmas,
            split=row.split_id is not None,
        )
        for row, measurement, value in rows
    ]
