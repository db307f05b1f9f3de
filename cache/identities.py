"""What candidates do, by fingerprint: the names of their classes, and the rows it was read off."""

from __future__ import annotations

from sqlalchemy import ColumnElement, and_, or_, select
from sqlalchemy.orm import InstrumentedAttribute, Session

from paretoken.cache.bulk import insert_if_new
from paretoken.cache.clock import now
from paretoken.cache.schema import CandidateRow, FingerprintRow, RecordingRow
from paretoken.spaces.errors import BadInput
from paretoken.spaces.records import Fingerprint, Keys

_Column = InstrumentedAttribute[str]


def identify(session: Session, candidate_id: str, fingerprint: Fingerprint) -> Keys:
    """The keys of a candidate in one context.

    Whoever came first names a class, so the same question gets the same answer ever after. A
    candidate whose code has changed is a newcomer: what it did before says nothing any more.
    """
    if session.get(CandidateRow, candidate_id) is None:
        raise BadInput(f"no candidate {candidate_id!r} is stored: propose it first.")
    own = session.scalar(
        select(FingerprintRow).where(
            FingerprintRow.candidate_id == candidate_id,
            FingerprintRow.context == fingerprint.context,
        )
    )
    row = own or FingerprintRow(candidate_id=candidate_id, context=fingerprint.context)
    held = own is not None and _agrees(own, fingerprint)
    if not held:  # a new one; or the same settings do something else, for their code has changed
        row.quality_a, row.quality_b = fingerprint.quality
        row.work_a, row.work_b = fingerprint.work
        row.evidence, row.created = dict(fingerprint.evidence), now()
    others = [FingerprintRow.context == row.context, FingerprintRow.candidate_id != candidate_id]
    if held:
        others.append(FingerprintRow.id < row.id)
    with session.no_autoflush:
        quality, quality_tie = _name(
            session,
            others,
            (FingerprintRow.quality_a, row.quality_a),
            (FingerprintRow.quality_b, row.quality_b),
            FingerprintRow.quality_key,
        )
        work, work_tie = _name(
            session,
            others,
            (FingerprintRow.work_a, row.work_a),
            (FingerprintRow.work_b, row.work_b),
            FingerprintRow.work_key,
        )
    if not held:
        row.quality_key, row.work_key = quality, work
        session.add(row)
    return Keys(quality, work, near_tie=quality_tie or work_tie, known=held)


def _agrees(row: FingerprintRow, fingerprint: Fingerprint) -> bool:
    """Whether a stored row says what the fingerprint says, on one grid at least."""
    quality = row.quality_a == fingerprint.quality[0] or row.quality_b == fingerprint.quality[1]
    work = row.work_a == fingerprint.work[0] or row.work_b == fingerprint.work[1]
    return quality and work


def _name(
    session: Session,
    others: list[ColumnElement[bool]],
    a: tuple[_Column, str],
    b: tuple[_Column, str],
    key: _Column,
) -> tuple[str, bool]:
    """The key of the first of the other rows that agrees, and whether one grid of it does not."""
    on_a, on_b = a[0] == a[1], b[0] == b[1]
    for agrees, tie in ((and_(on_a, on_b), False), (or_(on_a, on_b), True)):
        found = session.scalar(
            select(key).where(*others, agrees).order_by(FingerprintRow.id).limit(1)
        )
        if found is not None:
            return found, tie
    return a[1], False


def read_fingerprints(session: Session, candidate_id: str) -> list[tuple[Fingerprint, Keys]]:
    """What a candidate was found to do in each context, and the names of its classes there."""
    rows = session.scalars(
        select(FingerprintRow)
        .where(FingerprintRow.candidate_id == candidate_id)
        .order_by(FingerprintRow.id)
    )
    return [
        (
            Fingerprint(
                row.context,
                (row.quality_a, row.quality_b),
                (row.work_a, row.work_b),
                row.evidence,
            ),
            Keys(row.quality_key, row.work_key, known=True),
        )
        for row in rows
    ]


def read_recording(session: Session, context: str) -> bytes | None:
    """The rows recorded in a context."""
    return session.scalar(select(RecordingRow.data).where(RecordingRow.context == context))


def keep_recording(session: Session, context: str, data: bytes) -> bytes:
    """Store recorded rows, unless there are some: everybody compares on what is returned."""
    insert_if_new(session, RecordingRow, context=context, data=data, created=now())
    return session.scalars(select(RecordingRow.data).where(RecordingRow.context == context)).one()
