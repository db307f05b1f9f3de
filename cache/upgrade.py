"""A store of an older schema, or an empty database, to the newest schema."""

from __future__ import annotations

from pathlib import Path

from alembic import command
from alembic.config import Config
from sqlalchemy import Connection, select
from sqlalchemy.orm import Session

from paretoken.cache import points
from paretoken.cache.schema import StudyRow


def upgrade(connection: Connection) -> None:
    """Run the missing migrations, in the transaction of `connection`, and what follows from them.

    Migrations carry over what was measured. What only follows from that is written by the code
    that keeps it right later, once its tables are there: no migration has to know that code.
    """
    config = Config()
    folder = Path(__file__).parent / "migrations"
    config.set_main_option("script_location", str(folder).replace("%", "%%"))
    config.attributes["connection"] = connection
    command.upgrade(config, "head")
    with Session(connection) as session:
        for study_id in session.scalars(select(StudyRow.id).order_by(StudyRow.id)).all():
            points.rebuild(session, study_id)
        session.commit()  # into the transaction around, which stays open
