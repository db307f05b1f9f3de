"""The store's tables: what was asked, what was proposed, and every observation ever made.

    studies 1─* trials *─1 candidates 1─* fingerprints
       │          │ 1─* failures   1─* measurements 1─* quantities
       1─* exports│                      * *─1 environments
                  *──── classes 1────────┘
                           1─* means

Measurements are append-only and belong to a candidate, not to a trial. Those of equal behaviour are
observations of one class; `means` keeps its statistics up to date, and a trial's numbers are the
means of its two classes. A change here needs a new file in `migrations/versions` and the next
`REVISION`.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Double,
    ForeignKey,
    Index,
    LargeBinary,
    MetaData,
    String,
    Text,
    UniqueConstraint,
)
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

# The newest file in migrations/versions. Revisions are four digits, so later ones sort higher.
REVISION = "0002"
# Not alembic's usual name: other tools' stores have a table `alembic_version` as well.
VERSION_TABLE = "paretoken_version"

# Times are ISO 8601 in UTC with microseconds, as text: SQLite has no time zones, and text of one
# fixed format sorts by time. Digests are 32 hex digits.
_TIME = String(32)
_DIGEST = String(32)


class Row(DeclarativeBase):
    """One table; constraint names are fixed, so that migrations can speak of them."""

    metadata = MetaData(
        naming_convention={
            "pk": "pk_%(table_name)s",
            "fk": "fk_%(table_name)s_%(column_0_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        }
    )


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
    created: Mapped[str] = mapped_column(_TIME)


class CandidateRow(Row):
    """Settings that some study proposed. id: digest of `json`, the canonical text itself."""

    __tablename__ = "candidates"

    id: Mapped[str] = mapped_column(_DIGEST, primary_key=True)
    json: Mapped[str] = mapped_column(Text)


class EnvironmentRow(Row):
    """Where measurements were made: see `records.Environment`."""

    __tablename__ = "environments"
    __table_args__ = (UniqueConstraint("device", "software", "commit"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    device: Mapped[str] = mapped_column(Text)
    software: Mapped[str] = mapped_column(Text)
    commit: Mapped[str] = mapped_column(Text)


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
    context: Mapped[str] = mapped_column(_DIGEST)
    quality_a: Mapped[str] = mapped_column(_DIGEST)
    quality_b: Mapped[str] = mapped_column(_DIGEST)
    work_a: Mapped[str] = mapped_column(_DIGEST)
    work_b: Mapped[str] = mapped_column(_DIGEST)
    quality_key: Mapped[str] = mapped_column(_DIGEST)
    work_key: Mapped[str] = mapped_column(_DIGEST)
    evidence: Mapped[dict[str, Any]] = mapped_column(JSON)
    created: Mapped[str] = mapped_column(_TIME)


class ClassRow(Row):
    """Everything that behaves alike in one aspect, under one key.

    device, software: of a speed; empty for a quality. split: 0, or the number of the part that a
    disagreement split off. count: observations that the means rest on. fresh: how many of them were
    made to confirm a front; from the first one on, only these count. seconds: mean of what one
    observation took.
    """

    __tablename__ = "classes"
    __table_args__ = (UniqueConstraint("aspect", "key", "device", "software", "split"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    aspect: Mapped[str] = mapped_column(String(16))
    key: Mapped[str] = mapped_column(Text)
    device: Mapped[str] = mapped_column(Text)
    software: Mapped[str] = mapped_column(Text)
    split: Mapped[int]
    count: Mapped[int]
    fresh: Mapped[int]
    seconds: Mapped[float] = mapped_column(Double)


class MeanRow(Row):
    """One quantity of a class: count, mean and sum of squared deviations of its observations.

    variance: mean of the squared spreads that the observations state themselves. samples: of all.
    """

    __tablename__ = "means"
    __table_args__ = (Index(None, "name", "mean"),)

    class_id: Mapped[int] = mapped_column(ForeignKey("classes.id"), primary_key=True)
    name: Mapped[str] = mapped_column(Text, primary_key=True)
    count: Mapped[int]
    mean: Mapped[float] = mapped_column(Double)
    squares: Mapped[float] = mapped_column(Double)
    variance: Mapped[float] = mapped_column(Double)
    samples: Mapped[int] = mapped_column(BigInteger)
    unit: Mapped[str] = mapped_column(Text)
    higher: Mapped[bool] = mapped_column(Boolean)
    comparable: Mapped[str] = mapped_column(Text)
    detail: Mapped[dict[str, Any]] = mapped_column(JSON)


class MeasurementRow(Row):
    """One observation, never changed and never deleted: see `records.Measurement`.

    work: of a speed, the key that the law level predicted for it. tokens, trace: digests of what
    was emitted and of the rounds it took. fresh: made to confirm a front.
    """

    __tablename__ = "measurements"
    __table_args__ = (
        Index(None, "aspect", "key"),
        Index(None, "aspect", "work"),
        Index(None, "aspect", "tokens"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    candidate_id: Mapped[str] = mapped_column(ForeignKey("candidates.id"), index=True)
    environment_id: Mapped[int] = mapped_column(ForeignKey("environments.id"))
    class_id: Mapped[int] = mapped_column(ForeignKey("classes.id"), index=True)
    aspect: Mapped[str] = mapped_column(String(16))
    key: Mapped[str] = mapped_column(Text)
    work: Mapped[str] = mapped_column(String(32))
    tokens: Mapped[str] = mapped_column(String(32))
    trace: Mapped[str] = mapped_column(String(32))
    fresh: Mapped[bool] = mapped_column(Boolean)
    seed: Mapped[int] = mapped_column(BigInteger)
    seconds: Mapped[float] = mapped_column(Double)
    detail: Mapped[dict[str, Any]] = mapped_column(JSON)
    created: Mapped[str] = mapped_column(_TIME)


class QuantityRow(Row):
    """One number of a measurement: see `records.Quantity`."""

    __tablename__ = "quantities"
    __table_args__ = (UniqueConstraint("measurement_id", "name"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    measurement_id: Mapped[int] = mapped_column(ForeignKey("measurements.id"))
    name: Mapped[str] = mapped_column(Text, index=True)
    value: Mapped[float] = mapped_column(Double)
    spread: Mapped[float] = mapped_column(Double)
    samples: Mapped[int] = mapped_column(BigInteger)
    unit: Mapped[str] = mapped_column(Text)
    higher: Mapped[bool] = mapped_column(Boolean)
    comparable: Mapped[str] = mapped_column(Text)
    detail: Mapped[dict[str, Any]] = mapped_column(JSON)


class DisagreementRow(Row):
    """An observation that its class does not explain by noise.

    split_id: the class that was split off for it; none where only one candidate was ever observed,
    so that its own runs disagree. expected: the class mean before it was counted. sigmas: how far
    off, in standard deviations of the difference.
    """

    __tablename__ = "disagreements"

    id: Mapped[int] = mapped_column(primary_key=True)
    measurement_id: Mapped[int] = mapped_column(ForeignKey("measurements.id"))
    class_id: Mapped[int] = mapped_column(ForeignKey("classes.id"), index=True)
    split_id: Mapped[int | None] = mapped_column(ForeignKey("classes.id"))
    name: Mapped[str] = mapped_column(Text)
    expected: Mapped[float] = mapped_column(Double)
    sigmas: Mapped[float] = mapped_column(Double)
    created: Mapped[str] = mapped_column(_TIME)


class TrialRow(Row):
    """One proposal of a study; done once it points at a class of qualities and one of speeds."""

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


class PointRow(Row):
    """A candidate's place in its study: the losses (smaller is better) of the first two objectives.

    x, y: class means, kept up to date. front: whether no other point of the study dominates it.
    """

    __tablename__ = "points"
    __table_args__ = (
        Index(None, "study_id", "x", "y"),
        Index(None, "study_id", "y", "x"),
        Index(None, "study_id", "front", "x", "y"),
    )

    study_id: Mapped[int] = mapped_column(ForeignKey("studies.id"), primary_key=True)
    candidate_id: Mapped[str] = mapped_column(ForeignKey("candidates.id"), primary_key=True)
    trial_id: Mapped[int] = mapped_column(ForeignKey("trials.id"), index=True)
    x: Mapped[float] = mapped_column(Double)
    y: Mapped[float] = mapped_column(Double)
    front: Mapped[bool] = mapped_column(Boolean)


class RecordingRow(Row):
    """Rows recorded from a model, on which decoders are compared; context: digest of the model."""

    __tablename__ = "recordings"

    context: Mapped[str] = mapped_column(_DIGEST, primary_key=True)
    data: Mapped[bytes] = mapped_column(LargeBinary)
    created: Mapped[str] = mapped_column(_TIME)


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
    expires: Mapped[str] = mapped_column(_TIME)
    attempts: Mapped[int]
    created: Mapped[str] = mapped_column(_TIME)


class ExportRow(Row):
    """Settings that were handed out: which candidate, to what, when."""

    __tablename__ = "exports"

    id: Mapped[int] = mapped_column(primary_key=True)
    study_id: Mapped[int] = mapped_column(ForeignKey("studies.id"), index=True)
    candidate_id: Mapped[str] = mapped_column(ForeignKey("candidates.id"))
    target: Mapped[str] = mapped_column(Text)
    file: Mapped[str] = mapped_column(Text)
    created: Mapped[str] = mapped_column(_TIME)


class FailureRow(Row):
    """Why a trial has no score: see `records.Failure`."""

    __tablename__ = "failures"

    id: Mapped[int] = mapped_column(primary_key=True)
    trial_id: Mapped[int] = mapped_column(ForeignKey("trials.id"), index=True)
    reason: Mapped[str] = mapped_column(Text)
    detail: Mapped[str] = mapped_column(Text)
    traceback: Mapped[str] = mapped_column(Text)
    created: Mapped[str] = mapped_column(_TIME)


def to_json(value: Any) -> str:
    """JSON text that both databases accept, keys in the order given.

    What JSON has no word for (a NaN, a path) becomes its text: a detail costs no measurement.
    """
    try:
        return json.dumps(value, separators=(",", ":"), allow_nan=False)
    except (TypeError, ValueError):
        return json.dumps(_storable(value), separators=(",", ":"), default=str)


def from_json(text: str | bytes) -> Any:
    """What `to_json` wrote. Half the time of `json.loads`, which looks for white space as well."""
    if isinstance(text, bytes):
        text = text.decode()
    return _DECODER.raw_decode(text)[0]


_DECODER = json.JSONDecoder()


def _storable(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _storable(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_storable(entry) for entry in value]
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value
