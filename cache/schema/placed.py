"""What follows from the other tables, kept so that the database can answer at once."""

from __future__ import annotations

from sqlalchemy import Boolean, Double, ForeignKey, Index
from sqlalchemy.orm import Mapped, mapped_column

from paretoken.cache.schema.base import Row


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
