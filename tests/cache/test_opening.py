"""What cannot be a store is refused in one line with a way out, and is left as it was."""

from __future__ import annotations

import os
import sqlite3
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from sqlalchemy import create_engine, text

from paretoken.cache.schema import VERSION_TABLE
from paretoken.cache.store import Store
from paretoken.spaces.errors import BadInput, ParetokenError, Unreadable
from paretoken.spaces.records import StudyInfo

INFO = StudyInfo("first", "fashion", "nsga2", 0, {}, (), {}, "2026-01-01T00:00:00+00:00")
ELSEWHERE = "--store or PARETOKEN_STORE"


def refusal(asked: Callable[[], object]) -> str:
    with pytest.raises(ParetokenError) as refused:
        asked()
    message = str(refused.value)
    assert "\n" not in message
    return message


def filled(path: Path) -> str:
    """A store with 300 studies, so that it has many pages; folded into one file."""
    url = f"sqlite:///{path}"
    with Store.open(url) as store:
        store.create_study(INFO)
        with closing(sqlite3.connect(path)) as connection, connection:
            connection.executemany(
                "INSERT INTO studies (name, workload, algorithm, seed, space, objectives, options,"
                " created) VALUES (?, ?, '', 0, '{}', '[]', '{}', '')",
                [(f"study {i}", "w" * 500) for i in range(300)],
            )
    return url


@contextmanager
def nobody() -> Iterator[None]:
    """Without root's right to read and write everything."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that every user may enter (pytest's own are for their owner)."""
    with tempfile.TemporaryDirectory() as name:
        os.chmod(name, 0o755)
        yield Path(name)
        os.chmod(name, 0o755)


def test_a_fresh_store_is_made_and_found_again(url: str) -> None:
    with Store.open(url) as store:
        assert store.studies() == []
    with Store.open(url, create=False) as store:
        assert store.studies() == []


def test_a_reader_makes_no_store(tmp_path: Path) -> None:
    path = tmp_path / "missing.db"
    message = refusal(lambda: Store.open(f"sqlite:///{path}", create=False))
    assert f"no store at sqlite:///{path} yet" in message and ELSEWHERE in message
    assert not path.exists()


def test_a_reader_finds_no_store_in_an_empty_database(url: str) -> None:
    if url.startswith("sqlite"):
        Path(url.removeprefix("sqlite:///")).touch()
    assert "no store at" in refusal(lambda: Store.open(url, create=False))


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    message = refusal(lambda: Store.open(f"sqlite:///{tmp_path}/no/such/store.db"))
    assert f"no folder '{tmp_path}/no/such'" in message and ELSEWHERE in message


def test_a_folder_is_no_store(tmp_path: Path) -> None:
    assert "is a folder" in refusal(lambda: Store.open(f"sqlite:///{tmp_path}"))


@pytest.mark.parametrize("create", [True, False])
@pytest.mark.parametrize("content", [b"speed,fid\n1,2\n" * 1000, b"x", b"SQLite format 3\0" + b"z"])
def test_a_file_of_another_kind_stays_as_it_was(
    tmp_path: Path, content: bytes, create: bool
) -> None:
    path = tmp_path / "results.csv"
    path.write_bytes(content)
    message = refusal(lambda: Store.open(f"sqlite:///{path}", create=create))
    assert "not a database" in message and "left as it is" in message and ELSEWHERE in message
    assert path.read_bytes() == content
    assert os.listdir(tmp_path) == ["results.csv"]


@pytest.mark.parametrize("create", [True, False])
def test_somebody_elses_database_stays_as_it_was(tmp_path: Path, create: bool) -> None:
    path = tmp_path / "optuna.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE studies (id INTEGER)")
        connection.execute("CREATE TABLE alembic_version (version_num TEXT)")
    content = path.read_bytes()
    message = refusal(lambda: Store.open(f"sqlite:///{path}", create=create))
    assert "belongs to something else (its tables: alembic_version, studies)" in message
    assert path.read_bytes() == content
    assert os.listdir(tmp_path) == ["optuna.db"]


@pytest.mark.slow
def test_somebody_elses_postgres_database_stays_as_it_was(postgres_url: str) -> None:
    engine = create_engine(postgres_url)
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE books (id INTEGER)"))
    assert "its tables: books" in refusal(lambda: Store.open(postgres_url))
    engine.dispose()


@pytest.mark.parametrize("create", [True, False])
@pytest.mark.parametrize("share", [0.01, 0.5, 0.99])
def test_a_truncated_store_stays_as_it_was(tmp_path: Path, share: float, create: bool) -> None:
    path = tmp_path / "store.db"
    url = filled(path)
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])
    content = path.read_bytes()
    message = refusal(lambda: Store.open(url, create=create))
    assert "damaged or cut short" in message and "restore a copy" in message
    assert path.read_bytes() == content


def test_a_store_damaged_inside_is_refused_when_the_damage_is_met(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    url = filled(path)
    content = bytearray(path.read_bytes())
    content[len(content) // 2 :] = b"\xff" * (len(content) - len(content) // 2)
    path.write_bytes(content)
    with Store.open(url, create=False) as store:
        assert "damaged" in refusal(store.studies)


@pytest.mark.parametrize("create", [True, False])
def test_a_file_that_is_not_ours_to_read(open_folder: Path, create: bool) -> None:
    path = open_folder / "store.db"
    url = filled(path)
    path.chmod(0o000)
    with nobody():
        message = refusal(lambda: Store.open(url, create=create))
    assert "check the permissions" in message and ELSEWHERE in message


def test_a_folder_that_is_not_ours_to_enter(open_folder: Path) -> None:
    locked = open_folder / "locked"
    locked.mkdir(mode=0o700)
    url = filled(locked / "store.db")
    locked.chmod(0o000)
    with nobody():
        assert "check the permissions" in refusal(lambda: Store.open(url))
    locked.chmod(0o700)


def test_a_folder_that_is_not_ours_to_write(open_folder: Path) -> None:
    with nobody():
        message = refusal(lambda: Store.open(f"sqlite:///{open_folder}/store.db"))
    assert "check the permissions" in message and ELSEWHERE in message


def test_a_read_only_store_is_refused_before_anything_is_measured(open_folder: Path) -> None:
    path = open_folder / "store.db"
    url = filled(path)
    path.chmod(0o444)
    content = path.read_bytes()
    with nobody():
        message = refusal(lambda: Store.open(url))
    assert "allow writing" in message and "safe" in message
    assert path.read_bytes() == content


def test_a_store_of_a_newer_version_is_refused_with_the_upgrade(url: str) -> None:
    Store.open(url).close()
    engine = create_engine(url.replace("postgresql:", "postgresql+psycopg:"))
    with engine.begin() as connection:
        connection.execute(text(f"UPDATE {VERSION_TABLE} SET version_num = '0099'"))
    engine.dispose()
    for create in (True, False):
        message = refusal(lambda create=create: Store.open(url, create=create))
        assert "newer paretoken (schema 0099" in message and "pip install -U" in message


def test_a_locked_store_says_so(sqlite_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("paretoken.cache.connection._PATIENCE_S", 0.1)
    path = sqlite_url.removeprefix("sqlite:///")
    with Store.open(sqlite_url) as store, closing(sqlite3.connect(path)) as other:
        other.execute("BEGIN IMMEDIATE")
        assert "another process held it" in refusal(lambda: store.create_study(INFO))
        assert store.studies() == []  # readers do not wait for a writer


def test_a_full_disk_says_so_and_keeps_what_was_stored(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/store.db"
    with Store.open(url) as store:
        store.create_study(INFO)
        with store._database._writer.connect() as connection:  # the pool has one connection
            pages = connection.exec_driver_sql("PRAGMA page_count").scalar()
            connection.exec_driver_sql(f"PRAGMA max_page_count = {pages}")
        big = StudyInfo("big", "fashion", "nsga2", 0, {"x": "y" * 10**6}, (), {}, "")
        assert "free some space" in refusal(lambda: store.create_study(big))
        assert store.study("first") == INFO
        assert len(store.studies()) == 1


@pytest.mark.parametrize("left", [0, 100_000])
def test_a_disk_that_is_full_in_earnest(small_disk: Path, left: int) -> None:
    path = small_disk / "store.db"
    url = filled(path)
    content = path.read_bytes()
    free = os.statvfs(small_disk).f_bavail * os.statvfs(small_disk).f_frsize
    filler = small_disk / "filler"
    filler.write_bytes(b"x" * (free - left))
    big = StudyInfo("big", "fashion", "nsga2", 0, {"x": "y" * 10**6}, (), {}, "")

    def write() -> None:
        with Store.open(url) as store:
            store.create_study(big)

    assert "free some space" in refusal(write)
    filler.unlink()
    assert path.read_bytes() == content
    with Store.open(url) as store:
        assert len(store.studies()) == 301


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("paretoken.db", "URL such as sqlite:///paretoken.db.*'paretoken.db'"),
        ("postgres://u:s3cret@h/d", "not on postgres://"),
        ("mysql://u:s3cret@h/d", "not on mysql://"),
        ("sqlite+aiosqlite:///x.db", "not on sqlite.aiosqlite://"),
        ("postgresql://u:s3cret@h:port/d", "URL such as"),
        ("u:s3cret@h", "URL such as"),
        ("sqlite://", "in memory"),
        ("sqlite:///:memory:", "in memory"),
    ],
)
def test_an_address_that_is_none_is_bad_input(url: str, expected: str) -> None:
    with pytest.raises(BadInput, match=expected) as refused:
        Store.open(url)
    assert "s3cret" not in str(refused.value)


def test_no_password_is_shown_where_nobody_answers() -> None:
    # Port 1 of this machine: refused at once.
    for url in (
        "postgresql://u:s3cret@127.0.0.1:1/d",
        "postgresql://u@127.0.0.1:1/d?password=s3cret",
    ):
        with pytest.raises(Unreadable) as refused:
            Store.open(url)
        message = str(refused.value)
        assert "s3cret" not in message and "\n" not in message
        assert "127.0.0.1:1/d" in message and ELSEWHERE in message
