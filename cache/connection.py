"""An open database: pragmas, transactions, and migration to the newest schema on opening.

Both databases have one writer at a time, who waits for the others first: no transaction fails
half-way for a lock, and statistics, splits and fronts are read, changed and written back without a
race. On SQLite that is BEGIN IMMEDIATE, on PostgreSQL an advisory lock. The threads of one process
queue for a lock of its own first: SQLite lets whoever asks at the right moment go before, and
waiting writers would use up the connections. A reader waits for nobody and sees one state.
"""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event, inspect, text
from sqlalchemy.exc import DBAPIError, IntegrityError
from sqlalchemy.orm import Session

from paretoken.cache.address import Address
from paretoken.cache.json_text import from_json, to_json
from paretoken.cache.schema import REVISION, VERSION_TABLE
from paretoken.spaces.errors import BadInput, Unreadable

_PATIENCE_S = 30.0
_WRITER_LOCK = 0x70617265746F6B  # any fixed number: "paretok" in ASCII


class Database:
    """A store's database at the newest schema; raises Unreadable or BadInput, never a driver's."""

    def __init__(self, address: Address, create: bool) -> None:
        """Open, and migrate where needed. create: whether a missing store is made."""
        self.address = address
        self._turn = threading.Lock()
        if address.is_sqlite:
            address.check_file(create)
        engine = self._engine()
        one_state = {} if address.is_sqlite else {"isolation_level": "REPEATABLE READ"}
        self._reader = engine.execution_options(**one_state)
        self._writer = engine
        try:
            self._settle(create)
        except BaseException:
            self.close()
            raise

    @contextmanager
    def reading(self) -> Iterator[Session]:
        """A session that sees one state of the store."""
        with self._translated(), Session(self._reader) as session:
            _begin(session.connection(), writes=False)
            yield session

    @contextmanager
    def writing(self) -> Iterator[Session]:
        """A session committed as one transaction at the end, or not at all."""
        with (
            self._turn,
            self._translated(),
            Session(self._writer) as session,
            session.begin(),
        ):
            _begin(session.connection(), writes=True)
            yield session

    def close(self) -> None:
        """Let go of the database; the last one out folds SQLite's log into the file."""
        self._reader.dispose()

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except IntegrityError as error:
            said = " ".join(str(error.orig).split())
            raise BadInput(f"{self.address.shown} does not take this: {said}.") from error
        except (DBAPIError, sqlite3.Error) as error:
            raise self.address.unreadable(error) from error

    def _engine(self) -> Engine:
        sqlite = self.address.is_sqlite
        arguments: dict[str, Any] = {"timeout": _PATIENCE_S} if sqlite else {}
        try:
            engine = create_engine(
                self.address.url,
                connect_args=arguments,
                json_serializer=to_json,
                json_deserializer=from_json,
            )
        except ModuleNotFoundError as error:
            raise BadInput(
                "a store on PostgreSQL needs its driver: pip install 'psycopg[binary]'."
            ) from error
        if sqlite:
            event.listen(engine, "connect", _prepare_sqlite)
        return engine

    def _settle(self, create: bool) -> None:
        """Bring the schema to the newest revision; leave what is no store of ours untouched."""
        with self._translated(), self._reader.connect() as connection:
            _begin(connection, writes=False)
            revision = self._revision(connection)
            if self.address.is_sqlite:
                pages, page_bytes = (
                    int(connection.exec_driver_sql(f"PRAGMA {name}").scalar_one())
                    for name in ("page_count", "page_size")
                )
                self.address.check_length(pages * page_bytes)
        if revision is None and not create:
            raise self.address.missing()
        if self.address.is_sqlite and create:
            with self._translated():
                _use_write_ahead_log(self.address.path)
        if revision == REVISION and not create:
            return
        with self._translated(), self._writer.begin() as connection:
            _begin(connection, writes=True)
            if self._revision(connection) != REVISION:  # nobody did it while we waited
                # Costs a third of a second, and opening an up-to-date store does not need it.
                from paretoken.cache.upgrade import upgrade

                upgrade(connection)

    def _revision(self, connection: Connection) -> str | None:
        """The stored schema's revision, None for an empty database."""
        tables = inspect(connection).get_table_names()
        if VERSION_TABLE not in tables:
            if tables:
                raise Unreadable(
                    f"{self.address.shown} belongs to something else (its tables: "
                    f"{', '.join(sorted(tables)[:5])}) and is left as it is: "
                    "name another store with --store or PARETOKEN_STORE."
                )
            return None
        found = connection.execute(text(f"SELECT version_num FROM {VERSION_TABLE}")).scalar()
        revision = None if found is None else str(found)
        if revision is not None and revision > REVISION:
            raise Unreadable(
                f"{self.address.shown} was written by a newer paretoken (schema {revision}; this "
                f"one knows {REVISION}): upgrade with `pip install -U paretoken`, "
                "or name another store with --store or PARETOKEN_STORE."
            )
        return revision


def _prepare_sqlite(connection: sqlite3.Connection, _record: object) -> None:
    connection.isolation_level = None  # Python's module must not begin transactions itself
    connection.execute("PRAGMA foreign_keys = ON")
    connection.execute("PRAGMA synchronous = NORMAL")
    connection.execute(
        "PRAGMA cache_size = -65536"
    )  # KiB: at the usual 2 MiB walks take twice as long


def _begin(connection: Connection, writes: bool) -> None:
    """Begin a transaction, as a writer in the queue of writers.

    It is called, and no listener of SQLAlchemy's: one listener, and every statement is announced.
    """
    if connection.dialect.name == "sqlite":
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")
    elif writes:
        # The time limit frees the others where a writer's machine is gone without a word.
        connection.exec_driver_sql(
            f"SELECT pg_advisory_xact_lock({_WRITER_LOCK}), "
            f"set_config('idle_in_transaction_session_timeout', '{_PATIENCE_S:.0f}s', true)"
        )


def _use_write_ahead_log(path: Path) -> None:
    """Switch the file to WAL, which stays with it. SQLite does not wait for locks here: we do."""
    give_up = time.monotonic() + _PATIENCE_S
    with closing(sqlite3.connect(path, timeout=_PATIENCE_S)) as connection:
        while True:
            try:
                connection.execute("PRAGMA journal_mode = WAL").fetchone()
                return
            except sqlite3.OperationalError as error:
                if "locked" not in str(error) or time.monotonic() > give_up:
                    raise
                time.sleep(0.01)
