"""What was measured: every observation, and the classes that pool those of equal behaviour."""

from __future__ import annotations

from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Double,
    ForeignKey,
    Index,
    String,
    Text,
    UniqueConstraint,
)
from sqlalchemy.orm import Mapped, mapped_column

from paretoken.cache.schema.row import TIME, Row


class EnvironmentRow(Row):
    """Where measurements were made: see `records.Environment`."""

    __tablename__ = "environments"
    __table_args__ = (UniqueConstraint("device", "software", "commit"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    device: Mapped[str] = mapped_column(Text)
    software: Mapped[str] = mapped_column(Text)
    commit: Mapped[str] = mapped_column(Text)


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
    created: Mapped[str] = mapped_column(TIME)


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
    created: Mapped[str] = mapped_column(TIME)
