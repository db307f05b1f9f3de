"""What alembic runs to migrate: it uses the connection, and the transaction, of the caller."""

from __future__ import annotations

from alembic import context

from paretoken.cache.schema import VERSION_TABLE, Row

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=Row.metadata,
    version_table=VERSION_TABLE,
    transactional_ddl=True,  # SQLite can, once BEGIN is said explicitly (see `connection`)
)
with context.begin_transaction():
    context.run_migrations()
