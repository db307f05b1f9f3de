"""What was asked and proposed: studies, candidates, trials, and what became of them."""

from __future__ import annotations

from typing import Any

from sqlalchemy import JSON, BigInteger, ForeignKey, String, Text, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from paretoken.cache.schema.row import DIGEST, TIME, Row
from paretoken.spaces.records import PLAIN


class StudyRow(Row):
    """One search: see `records.StudyInfo`."""

    __tablename__ = "studies"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(Text, unique=True)
    workload: Mapped[str] = mapped_column(Text)
    algorithm: Mapped[str] = mapped_column(Text)
    seed: Mapped[int] = mapped_column(BigInteger)
    space: Mapped[dict[str, Any]] = mapped_column(JSON)
    objectives: Mapped[list[dict[str, Any]]] = mapped_column(JSON)
    options: Mapped[dict[str, Any]] = mapped_column(JSON)
    rungs: Mapped[list[int]] = mapped_column(JSON, server_default="[]")
    baseline: Mapped[str] = mapped_column(Text, server_default=PLAIN)
    created: Mapped[str] = mapped_column(TIME)


class CandidateRow(Row):
    """Settings that some study proposed. id: digest of `json`, the canonical text itself."""

    __tablename__ = "candidates"

    id: Mapped[str] = mapped_column(DIGEST, primary_key=True)
    json: Mapped[str] = mapped_column(Text)


class TrialRow(Row):
    """One proposal of a study; done once it points at a class of qualities and one of speeds.

    A stopped one points at a class of speeds only, and its qualities are those of its rungs.
    """

    __tablename__ = "trials"
    __table_args__ = (UniqueConstraint("study_id", "number"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    study_id: Mapped[int] = mapped_column(ForeignKey("studies.id"))
    number: Mapped[int]
    candidate_id: Mapped[str] = mapped_column(ForeignKey("candidates.id"), index=True)
    numbers: Mapped[list[float]] = mapped_column(JSON)
    state: Mapped[str] = mapped_column(String(16))
    quality_id: Mapped[int | None] = mapped_column(ForeignKey("classes.id"), index=True)
    speed_id: Mapped[int | None] = mapped_column(ForeignKey("classes.id"), index=True)
    origins: Mapped[dict[str, str]] = mapped_column(JSON)


class RungRow(Row):
    """What a trial showed with few samples: see `records.Rung`. class_id: of qualities."""

    __tablename__ = "rungs"

    trial_id: Mapped[int] = mapped_column(ForeignKey("trials.id"), primary_key=True)
    samples: Mapped[int] = mapped_column(primary_key=True)
    class_id: Mapped[int] = mapped_column(ForeignKey("classes.id"))
    origin: Mapped[str] = mapped_column(String(16))


class FailureRow(Row):
    """Why a trial has no score: see `records.Failure`."""

    __tablename__ = "failures"

    id: Mapped[int] = mapped_column(primary_key=True)
    trial_id: Mapped[int] = mapped_column(ForeignKey("trials.id"), index=True)
    reason: Mapped[str] = mapped_column(Text)
    detail: Mapped[str] = mapped_column(Text)
    traceback: Mapped[str] = mapped_column(Text)
    created: Mapped[str] = mapped_column(TIME)


class ExportRow(Row):
    """Settings that were handed out: which candidate, to what, when."""

    __tablename__ = "exports"

    id: Mapped[int] = mapped_column(primary_key=True)
    study_id: Mapped[int] = mapped_column(ForeignKey("studies.id"), index=True)
    candidate_id: Mapped[str] = mapped_column(ForeignKey("candidates.id"))
    target: Mapped[str] = mapped_column(Text)
    file: Mapped[str] = mapped_column(Text)
    created: Mapped[str] = mapped_column(TIME)
