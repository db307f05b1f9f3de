"""Rungs: what trials showed with few samples, and at which numbers of samples a study looks."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """Create the table; the studies there are have no rungs."""
    rungs: sa.Column[list[int]] = sa.Column("rungs", sa.JSON(), nullable=False, server_default="[]")
    op.add_column("studies", rungs)
    op.create_table(
        "rungs",
        sa.Column("trial_id", sa.Integer(), nullable=False),
        sa.Column("samples", sa.Integer(), nullable=False),
        sa.Column("class_id", sa.Integer(), nullable=False),
        sa.Column("origin", sa.String(length=16), nullable=False),
        sa.ForeignKeyConstraint(["trial_id"], ["trials.id"], name="fk_rungs_trial_id"),
        sa.ForeignKeyConstraint(["class_id"], ["classes.id"], name="fk_rungs_class_id"),
        sa.PrimaryKeyConstraint("trial_id", "samples", name="pk_rungs"),
    )
