"""The migrations build exactly the tables that the models describe."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import create_engine, text

import paretoken.cache.migrations
from paretoken.cache.schema import REVISION, VERSION_TABLE, Row
from paretoken.cache.store import Store

FOLDER = Path(paretoken.cache.migrations.__path__[0])


def test_migrations_and_models_agree(url: str) -> None:
    Store.open(url).close()
    engine = create_engine(url)
    options = {"version_table": VERSION_TABLE, "compare_type": True}
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts=options)
        assert compare_metadata(context, Row.metadata) == []
        assert context.get_current_revision() == REVISION
    engine.dispose()


def test_revisions_are_four_digits_and_the_newest_is_the_one_that_opening_expects() -> None:
    config = Config()
    config.set_main_option("script_location", str(FOLDER))
    scripts = ScriptDirectory.from_config(config)
    revisions = [script.revision for script in scripts.walk_revisions()]
    assert revisions == sorted(revisions, reverse=True)  # newest first; text order is time order
    assert all(revision.isdigit() and len(revision) == 4 for revision in revisions)
    assert scripts.get_heads() == [REVISION]


def test_no_migration_needs_code_that_may_change() -> None:
    scripts = sorted((FOLDER / "versions").glob("0*.py"))
    assert len(scripts) == int(REVISION)
    for script in scripts:
        assert not re.search(r"(import|from) paretoken", script.read_text()), script


def test_a_sqlite_store_is_written_ahead_with_foreign_keys(sqlite_url: str) -> None:
    with Store.open(sqlite_url) as store, store._database.reading() as session:
        settings = {
            name: session.scalar(text(f"PRAGMA {name}"))
            for name in ("journal_mode", "foreign_keys", "synchronous", "busy_timeout")
        }
    assert settings == {
        "journal_mode": "wal",
        "foreign_keys": 1,
        "synchronous": 1,  # NORMAL
        "busy_timeout": 30_000,
    }


def test_opening_an_up_to_date_store_does_not_load_alembic(sqlite_url: str) -> None:
    Store.open(sqlite_url).close()
    script = (
        "import sys; from paretoken.cache.store import Store; Store.open(sys.argv[1], False);"
        "print(*sys.modules)"
    )
    loaded = subprocess.run(
        [sys.executable, "-c", script, sqlite_url], capture_output=True, text=True, check=True
    )
    heavy = {"alembic", "torch", "ray", "optuna", "pyglove", "numpy"}
    assert not heavy & set(loaded.stdout.split())
