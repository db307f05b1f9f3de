"""Many rows in one statement, on both databases.

A statement takes several times as long to build as to run, so what is asked for every candidate is
built once: those of other modules are constants or cached, with parameters for all that varies.
SQLite prepares an INSERT once and runs it for every row. PostgreSQL would pay for each row or each
parameter; there the rows travel as one array a column (three times as fast, measured).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from typing import Any, TypeVar

from sqlalchemy import JSON, Insert, Text, bindparam, cast, column, func, insert, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session

from paretoken.cache.json_text import to_json
from paretoken.cache.schema import Row

_SLICE = 500  # values in one IN (…): SQLite takes 32,766 and PostgreSQL plans long ones slowly

T = TypeVar("T")


def slices(values: Sequence[T]) -> Iterator[Sequence[T]]:
    """The values in order, in pieces short enough for one IN (…)."""
    return (values[first : first + _SLICE] for first in range(0, len(values), _SLICE))


def insert_if_new(session: Session, row: type[Row], **values: Any) -> None:
    """Insert, or do nothing where another process has already stored the same."""
    session.connection().execute(_adding_new(row, _is_postgres(session)), values)


def upsert(session: Session, row: type[Row]) -> postgresql.Insert | sqlite.Insert:
    """An INSERT that takes ON CONFLICT, in the session's dialect."""
    return _able(row, _is_postgres(session))


def insert_rows(
    session: Session,
    row: type[Row],
    rows: Sequence[Mapping[str, Any]],
    replacing: Sequence[str] = (),
) -> None:
    """Add rows, all with the same columns.

    replacing: the columns of a key; a row takes the place of a stored one with the same key.
    """
    if not rows:
        return
    adding = _adding(row, tuple(rows[0]), tuple(replacing), _is_postgres(session))
    if _is_postgres(session):
        session.connection().execute(_from_arrays(adding, rows))
    else:
        session.connection().execute(adding, rows)


def insert_numbered(
    session: Session, row: type[Row], rows: Sequence[Mapping[str, Any]]
) -> list[int]:
    """Add rows to a table with the key `id`; returns the new ids in the order of the rows."""
    if not rows:
        return []
    identity = row.__table__.c.id
    if _is_postgres(session):
        # Numbers are drawn in the order of the rows (ORDER BY), but may be returned in another.
        adding = _from_arrays(insert(row), rows).returning(identity)
        return sorted(session.connection().execute(adding).scalars())
    return list(session.connection().execute(_numbering(row), rows).scalars())


@cache
def _adding(
    row: type[Row], names: tuple[str, ...], replacing: tuple[str, ...], on_postgres: bool
) -> Insert:
    if not replacing:
        return insert(row)
    able = _able(row, on_postgres)
    others = {name: able.excluded[name] for name in names if name not in replacing}
    return able.on_conflict_do_update(index_elements=replacing, set_=others)


@cache
def _adding_new(row: type[Row], on_postgres: bool) -> Insert:
    return _able(row, on_postgres).on_conflict_do_nothing()


def _able(row: type[Row], on_postgres: bool) -> postgresql.Insert | sqlite.Insert:
    return postgresql.insert(row) if on_postgres else sqlite.insert(row)


@cache
def _numbering(row: type[Row]) -> Any:
    return insert(row).returning(row.__table__.c.id, sort_by_parameter_order=True)


def _from_arrays(adding: Insert, rows: Sequence[Mapping[str, Any]]) -> Insert:
    arrays, columns = [], []
    for name in rows[0]:
        kind = adding.table.c[name].type
        as_text = isinstance(kind, JSON)
        travels = Text() if as_text else kind
        values = [to_json(each[name]) if as_text else each[name] for each in rows]
        arrays.append(cast(bindparam(None, values), postgresql.ARRAY(travels)))
        columns.append((name, travels, kind))
    given = (
        func.unnest(*arrays)
        .table_valued(*(column(name, travels) for name, travels, _ in columns), with_ordinality="n")
        .render_derived(name="given")
    )
    picked = (cast(given.c[name], kind) for name, _, kind in columns)
    return adding.from_select(list(rows[0]), select(*picked).order_by(given.c.n))


def _is_postgres(session: Session) -> bool:
    return session.get_bind().dialect.name == "postgresql"
