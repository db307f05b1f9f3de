"""What number 0 of a study is called; until now it was plain decoding in every study."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    """Add the name; the studies there are keep the one that they were told with."""
    called: sa.Column[str] = sa.Column(
        "baseline", sa.Text(), nullable=False, server_default="plain decoding"
    )
    op.add_column("studies", called)
