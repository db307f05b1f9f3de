"""Where settings come from and what they gave: beside everything that is exported.

What it makes is a settings file: `paretoken generate` reads it, whatever else was exported.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from paretoken.spaces.records import Fingerprint, Keys, Quantity, StudyInfo, Trial
from paretoken.spaces.settings import SCHEMA


@dataclass(frozen=True)
class Chosen:
    """A candidate somebody wants to use, with what was measured.

    date: ISO 8601, UTC. plain: plain decoding in the same study. fingerprints: what the candidate
    was found to do, for each model and precision.
    """

    study: StudyInfo
    trial: Trial
    date: str
    plain: Trial | None = None
    fingerprints: tuple[tuple[Fingerprint, Keys], ...] = ()


def provenance(chosen: Chosen) -> dict[str, Any]:
    """`{"schema": …, "candidate": {…}, "from": {…}}`; numbers that are not finite are left out."""
    trial, study = chosen.trial, chosen.study
    place = trial.environment
    origin = {
        "study": study.name,
        "workload": study.workload,
        "options": dict(study.options),
        "seed": study.seed,
        "candidate_id": trial.candidate_id,
        "number": trial.number,
        "fingerprints": [
            {
                "context": found.context,
                "quality": keys.quality,
                "work": keys.work,
                "evidence": dict(found.evidence),
            }
            for found, keys in chosen.fingerprints
        ],
        "quantities": {
            name: plain_quantity(found)
            for name, found in trial.quantities.items()
            if math.isfinite(found.value)
        },
        "against_plain": _differences(chosen),
        "device": place.device if place else None,
        "software": place.software if place else None,
        "commit": place.commit if place else None,
        "date": chosen.date,
    }
    return {"schema": SCHEMA, "candidate": dict(trial.tree), "from": origin}


def plain_quantity(found: Quantity) -> dict[str, Any]:
    """A quantity as plain JSON; a spread that is not finite becomes null."""
    return {
        "value": found.value,
        "spread": found.spread if math.isfinite(found.spread) else None,
        "samples": found.samples,
        "unit": found.unit,
        "higher": found.higher,
        "comparable": found.comparable,
    }


def _differences(chosen: Chosen) -> dict[str, Any]:
    """How far the study's objectives are from plain decoding's, where the two compare."""
    found: dict[str, Any] = {}
    for name in (objective.name for objective in chosen.study.objectives):
        quantity = chosen.trial.quantities.get(name)
        other = None if chosen.plain is None else chosen.plain.quantities.get(name)
        if quantity is None or other is None or other.comparable != quantity.comparable:
            continue
        difference = quantity.value - other.value
        spread = math.hypot(quantity.spread, other.spread)
        if math.isfinite(difference):
            found[name] = {
                "difference": difference,
                "spread": spread if math.isfinite(spread) else None,
                "samples": quantity.samples,
            }
    return found
