"""What all tables share: names of constraints, the revision, and how times and digests are kept."""

from __future__ import annotations

from sqlalchemy import MetaData, String
from sqlalchemy.orm import DeclarativeBase

# The newest file in migrations/versions. Revisions are four digits, so later ones sort higher.
REVISION = "0005"
# Not alembic's usual name: other tools' stores have a table `alembic_version` as well.
VERSION_TABLE = "paretoken_version"

# Times are ISO 8601 in UTC with microseconds, as text: SQLite has no time zones, and text of one
# fixed format sorts by time. Digests are 32 hex digits.
TIME = String(32)
DIGEST = String(32)


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
