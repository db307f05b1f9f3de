"""Kinds of devices in a study: speeds compare within one of them only."""

from __future__ import annotations

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from paretoken.cache.schema import ClassRow, TrialRow


def count_devices(session: Session, study_id: int) -> dict[str, int]:
    """How many finished trials were timed on each device; most first, then the earliest."""
    counted = (
        select(ClassRow.device, func.count())
        .join(TrialRow, TrialRow.speed_id == ClassRow.id)
        .where(TrialRow.study_id == study_id, TrialRow.state == "done")
        .group_by(ClassRow.device)
        .order_by(func.count().desc(), func.min(TrialRow.number))
    )
    return {device: count for device, count in session.execute(counted)}
