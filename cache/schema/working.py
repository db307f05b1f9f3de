"""What drivers share before anything is measured: fingerprints, recorded rows and leases."""

from __future__ import annotations

from typing import Any

from sqlalchemy import JSON, ForeignKey, Index, LargeBinary, String, Text, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from paretoken.cache.schema.row import DIGEST, TIME, Row


class FingerprintRow(Row):
    """What a candidate does in one context: see `fingerprint.Fingerprint`.

    context: digest of weights, tokenizer, classes, precision and recorded rows. quality_a …
    work_b: floats hashed on two offset grids; quality_key, work_key: the names of the classes that
    these digests were found to belong to. evidence: how losslessness is known.
    """

    __tablename__ = "fingerprints"
    __table_args__ = (
        UniqueConstraint("candidate_id", "context"),
        Index(None, "quality_a"),
        Index(None, "quality_b"),
        Index(None, "work_a"),
        Index(None, "work_b"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    candidate_id: Mapped[str] = mapped_column(ForeignKey("candidates.id"))
    context: Mapped[str] = mapped_column(DIGEST)
    quality_a: Mapped[str] = mapped_column(DIGEST)
    quality_b: Mapped[str] = mapped_column(DIGEST)
    work_a: Mapped[str] = mapped_column(DIGEST)
    work_b: Mapped[str] = mapped_column(DIGEST)
    quality_key: Mapped[str] = mapped_column(DIGEST)
    work_key: Mapped[str] = mapped_column(DIGEST)
    evidence: Mapped[dict[str, Any]] = mapped_column(JSON)
    created: Mapped[str] = mapped_column(TIME)


class RecordingRow(Row):
    """Rows recorded from a model, on which decoders are compared; context: digest of the model."""

    __tablename__ = "recordings"

    context: Mapped[str] = mapped_column(DIGEST, primary_key=True)
    data: Mapped[bytes] = mapped_column(LargeBinary)
    created: Mapped[str] = mapped_column(TIME)


class WorkRow(Row):
    """One piece of work that somebody does or has done: the n-th observation of a key.

    owner: a driver's name. expires: when its lease ends unless renewed. attempts: leases so far.
    state: "leased", "done" or "failed".
    """

    __tablename__ = "work"
    __table_args__ = (UniqueConstraint("key"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    key: Mapped[str] = mapped_column(Text)
    state: Mapped[str] = mapped_column(String(16), index=True)
    owner: Mapped[str] = mapped_column(Text)
    expires: Mapped[str] = mapped_column(TIME)
    attempts: Mapped[int]
    created: Mapped[str] = mapped_column(TIME)
