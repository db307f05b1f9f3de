"""A batch of observations that were counted in their classes, into the database."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict
from typing import Any

from sqlalchemy import bindparam, delete, update
from sqlalchemy.orm import Session

from paretoken.cache import points
from paretoken.cache.bulk import insert_numbered, insert_rows, slices
from paretoken.cache.clock import now
from paretoken.cache.observations import insert_measurements
from paretoken.cache.parts import Part, Placed
from paretoken.cache.schema import ClassRow, DisagreementRow, MeanRow, TrialRow

_MEAN_KEY = ("class_id", "name")


def write_placed(session: Session, placed: Sequence[Placed]) -> None:
    """Store the observations, the classes they changed, and what follows for trials and points."""
    changed = list({each.part: None for each in placed if each.part.touched})
    split_off = {each.part for each in placed if each.split}
    # No trial points at a class that is new, unless it follows whoever was split off.
    followed = [part for part in changed if part.id or part in split_off]
    _write_classes(session, list({each.part: None for each in placed}))
    _write_means(session, changed)
    ids = insert_measurements(
        session, [(each.candidate_id, each.part.id, each.observed) for each in placed]
    )
    _write_disagreements(session, zip(ids, placed, strict=True))
    for each in placed:
        if each.split:
            _move_trials(session, each)
    for part in followed:
        points.moved(session, part.id)


def _write_classes(session: Session, parts: Sequence[Part]) -> None:
    connection = session.connection()
    new = [part for part in parts if not part.id]
    known = [part for part in parts if part.id]
    rows = [{**asdict(part.family), "split": part.split, **_counts(part)} for part in new]
    for part, class_id in zip(new, insert_numbered(session, ClassRow, rows), strict=True):
        part.id = class_id
    if known:
        connection.execute(
            update(ClassRow).where(ClassRow.id == bindparam("known_id")),
            [{"known_id": part.id, **_counts(part)} for part in known],
        )
    for some in slices([part.id for part in known if part.stale]):
        connection.execute(delete(MeanRow).where(MeanRow.class_id.in_(some)))


def _counts(part: Part) -> dict[str, Any]:
    return {"count": part.count, "fresh": part.fresh, "seconds": part.seconds}


def _write_means(session: Session, changed: Iterable[Part]) -> None:
    rows = [
        {"class_id": part.id, "name": name, **vars(part.means[name])}
        for part in changed
        for name in sorted(part.touched)
    ]
    insert_rows(session, MeanRow, rows, replacing=_MEAN_KEY)


def _write_disagreements(session: Session, numbered: Iterable[tuple[int, Placed]]) -> None:
    created = now()
    rows = [
        {
            "measurement_id": measurement_id,
            "class_id": each.dissent.against.id,
            "split_id": each.part.id if each.split else None,
            "name": each.dissent.deviation.name,
            "expected": each.dissent.deviation.expected,
            "sigmas": each.dissent.deviation.sigmas,
            "created": created,
        }
        for measurement_id, each in numbered
        if each.dissent is not None
    ]
    insert_rows(session, DisagreementRow, rows)


def _move_trials(session: Session, placed: Placed) -> None:
    """The trials of whoever was split off follow it."""
    assert placed.dissent is not None
    quality = placed.observed.aspect == "quality"
    column = TrialRow.quality_id if quality else TrialRow.speed_id
    session.connection().execute(
        update(TrialRow)
        .where(
            TrialRow.candidate_id == placed.candidate_id,
            column == placed.dissent.against.id,
        )
        .values({column: placed.part.id})
    )
