"""Many rows in one statement, on both databases.

SQLite prepares an INSERT once and runs it for every row. PostgreSQL would pay for each row or each
parameter; there the rows travel as one array a column (three times as fast, measured).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
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
    session.execute(upsert(session, row).values(**values).on_conflict_do_nothing())


def upsert(session: Session, row: type[Row]) -> postgresql.Insert | sqlite.Insert:
    """An INSERT that takes ON CONFLICT, in the session's dialect."""
    return postgresql.insert(row) if _is_postgres(session) else sqlite.insert(row)


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
    adding: Insert = insert(row)
    if replacing:
        able = upsert(session, row)
        others = {name: able.excluded[name] for name in rows[0] if name not in replacing}
        adding = able.on_conflict_do_update(index_elements=replacing, set_=others)
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
    adding = insert(row).returning(identity, sort_by_parameter_order=True)
    return list(session.connection().execute(adding, rows).scalars())


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
