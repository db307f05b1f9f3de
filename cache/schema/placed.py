"""What follows from the other tables, kept so that the database can answer at once.

It is kept right as measurements come in, and after a migration it is written anew.
"""

from __future__ import annotations

from sqlalchemy import (
    Column,
    Double,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    String,
    Text,
)
from sqlalchemy.orm import Mapped, mapped_column

from paretoken.cache.schema.row import Row

# Columns n0, n1, … of `points`. Empty ones cost a bit each; a number beyond them is looked up.
SLOTS = 24


class PointRow(Row):
    """A candidate in its study: its place, and every number of it that may be asked for.

    number: of the candidate's trial; of several, one has the point. x, y: the losses (smaller is
    better) of the first two objectives; of a single one, twice. n0 …: the other numbers, see
    `NumberRow`; NULL where there is none that compares. All are class means, kept up to date.
    """

    __tablename__ = "points"
    # All points of a study are read where a best is asked, so SQLite keeps them side by side. One
    # mean may move a large part of them: no index has to follow, and on PostgreSQL, where each page
    # has room for that, new versions replace the old ones instead of growing the table.
    __table_args__ = (
        *(Column(f"n{slot}", Double) for slot in range(SLOTS)),
        ForeignKeyConstraint(
            ["study_id", "number"], ["trials.study_id", "trials.number"], name="fk_points_trial"
        ),
        {"sqlite_with_rowid": False, "postgresql_with": {"fillfactor": 70}},
    )

    study_id: Mapped[int] = mapped_column(primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True)
    x: Mapped[float] = mapped_column(Double)
    y: Mapped[float] = mapped_column(Double)


class FrontRow(Row):
    """A point that no other point of its study dominates; x, y: as in `points`."""

    __tablename__ = "fronts"
    __table_args__ = (
        ForeignKeyConstraint(
            ["study_id", "number"], ["trials.study_id", "trials.number"], name="fk_fronts_trial"
        ),
        Index(None, "study_id", "x", "y"),
    )

    study_id: Mapped[int] = mapped_column(primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True)
    x: Mapped[float] = mapped_column(Double)
    y: Mapped[float] = mapped_column(Double)


class NumberRow(Row):
    """A name that the trials of a study have a number of, and which of these compare.

    slot: of the column of `points`; none for an objective on an axis, and where no column was left.
    aspect: of the classes that it is taken from. comparable, device, software: the conditions of
    trial 0's number, under which the others have to be found; comparable is NULL where trial 0 has
    none, and then all count.
    """

    __tablename__ = "numbers"

    study_id: Mapped[int] = mapped_column(ForeignKey("studies.id"), primary_key=True)
    name: Mapped[str] = mapped_column(Text, primary_key=True)
    slot: Mapped[int | None]
    aspect: Mapped[str] = mapped_column(String(16))
    comparable: Mapped[str | None] = mapped_column(Text)
    device: Mapped[str] = mapped_column(Text)
    software: Mapped[str] = mapped_column(Text)
