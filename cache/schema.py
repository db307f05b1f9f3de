"""The store's tables: what was asked, what was proposed, and every observation ever made.

    studies 1─* trials *─1 candidates 1─* measurements 1─* quantities
                  1─* failures                *─1 environments

Measurements are append-only and belong to a candidate, not to a trial: any study may point at one.
A change here needs a new file in `migrations/versions` and the next `REVISION`.
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
    MetaData,
    String,
    Text,
    UniqueConstraint,
)
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

# The newest file in migrations/versions. Revisions are four digits, so later ones sort higher.
REVISION = "0001"
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


class MeasurementRow(Row):
    """One observation, never changed and never deleted: see `records.Measurement`."""

    __tablename__ = "measurements"
    __table_args__ = (Index(None, "aspect", "key"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    candidate_id: Mapped[str] = mapped_column(ForeignKey("candidates.id"), index=True)
    environment_id: Mapped[int] = mapped_column(ForeignKey("environments.id"))
    aspect: Mapped[str] = mapped_column(String(16))
    key: Mapped[str] = mapped_column(Text)
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


class TrialRow(Row):
    """One proposal of a study; done once it points at a quality and a speed measurement."""

    __tablename__ = "trials"
    __table_args__ = (UniqueConstraint("study_id", "number"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    study_id: Mapped[int] = mapped_column(ForeignKey("studies.id"))
    number: Mapped[int]
    candidate_id: Mapped[str] = mapped_column(ForeignKey("candidates.id"), index=True)
    numbers: Mapped[list[float]] = mapped_column(JSON)
    state: Mapped[str] = mapped_column(String(16))
    quality_id: Mapped[int | None] = mapped_column(ForeignKey("measurements.id"))
    speed_id: Mapped[int | None] = mapped_column(ForeignKey("measurements.id"))
    origins: Mapped[dict[str, str]] = mapped_column(JSON)


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
