"""Points carry all numbers of their candidates; `numbers` says which, and which of them compare.

The front is a table of its own, so that no index is on points. All three follow from the other
tables, and are written anew once the newest schema is reached.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Make the tables anew."""
    op.drop_table("points")
    op.create_table(
        "points",
        sa.Column("study_id", sa.Integer(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("x", sa.Double(), nullable=False),
        sa.Column("y", sa.Double(), nullable=False),
        *(sa.Column(f"n{slot}", sa.Double()) for slot in range(24)),
        sa.ForeignKeyConstraint(
            ["study_id", "number"], ["trials.study_id", "trials.number"], name="fk_points_trial"
        ),
        sa.PrimaryKeyConstraint("study_id", "number", name="pk_points"),
        sqlite_with_rowid=False,
        postgresql_with={"fillfactor": 70},
    )
    op.create_table(
        "fronts",
        sa.Column("study_id", sa.Integer(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("x", sa.Double(), nullable=False),
        sa.Column("y", sa.Double(), nullable=False),
        sa.ForeignKeyConstraint(
            ["study_id", "number"], ["trials.study_id", "trials.number"], name="fk_fronts_trial"
        ),
        sa.PrimaryKeyConstraint("study_id", "number", name="pk_fronts"),
    )
    op.create_index("ix_fronts_study_id_x_y", "fronts", ["study_id", "x", "y"])
    op.create_table(
        "numbers",
        sa.Column("study_id", sa.Integer(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("slot", sa.Integer()),
        sa.Column("aspect", sa.String(length=16), nullable=False),
        sa.Column("comparable", sa.Text()),
        sa.Column("device", sa.Text(), nullable=False),
        sa.Column("software", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["study_id"], ["studies.id"], name="fk_numbers_study_id"),
        sa.PrimaryKeyConstraint("study_id", "name", name="pk_numbers"),
    )
