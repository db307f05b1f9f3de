"""Measurements in and out of the database: a row, its quantities and its environment."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import ColumnElement, Subquery, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session

from paretoken.cache.schema import EnvironmentRow, MeasurementRow, QuantityRow, Row
from paretoken.spaces.errors import BadValue, MeasurementFailed
from paretoken.spaces.records import Environment, Measurement, Quantity

ASPECTS = ("quality", "speed")
_MOST_SEED = 2**63  # what an SQL integer holds


def now() -> str:
    """The time in UTC as the store writes it: ISO 8601 with microseconds."""
    return datetime.now(UTC).isoformat(timespec="microseconds")


def check_seed(seed: int) -> int:
    """The seed, if the database can hold it; raises BadValue."""
    if not -_MOST_SEED <= seed < _MOST_SEED:
        raise BadValue(f"a seed lies between -2^63 and 2^63 - 1; it cannot be {seed}.")
    return seed


def check_aspect(aspect: str) -> str:
    """The aspect, if it is one; raises BadValue."""
    if aspect not in ASPECTS:
        raise BadValue(f"a measurement is of {' or '.join(ASPECTS)}, not of {aspect!r}.")
    return aspect


def insert_if_new(session: Session, row: type[Row], **values: Any) -> None:
    """Insert, or do nothing where another process has already stored the same."""
    postgres = session.get_bind().dialect.name == "postgresql"
    insert = postgresql.insert if postgres else sqlite.insert
    session.execute(insert(row).values(**values).on_conflict_do_nothing())


def insert_measurement(session: Session, candidate_id: str, observed: Measurement) -> int:
    """Add one observation and return its id.

    Raises MeasurementFailed ("nan" or "infinite") for a number that cannot be compared: such a
    candidate has failed, and a failure is a record of its own.
    """
    row = MeasurementRow(
        candidate_id=candidate_id,
        environment_id=_environment_id(session, observed.environment),
        aspect=check_aspect(observed.aspect),
        key=observed.key,
        seed=check_seed(observed.seed),
        seconds=float(observed.seconds),
        detail=observed.detail,
        created=now(),
    )
    session.add(row)
    session.flush()
    for quantity in observed.quantities:
        session.add(
            QuantityRow(
                measurement_id=row.id,
                name=quantity.name,
                value=_finite(quantity.name, quantity.value),
                spread=_finite(f"the spread of {quantity.name}", quantity.spread),
                samples=int(quantity.samples),
                unit=quantity.unit,
                higher=quantity.higher,
                comparable=quantity.comparable,
                detail=quantity.detail,
            )
        )
    session.flush()
    return row.id


def read_measurements(
    session: Session, *where: ColumnElement[bool], newest: int | None = None
) -> list[tuple[int, Measurement]]:
    """The measurements that fulfil all of `where`, with their ids, in the order they were made.

    newest: at most so many, the newest. `where` may speak of MeasurementRow and EnvironmentRow.
    """
    query = (
        select(MeasurementRow, EnvironmentRow)
        .join(EnvironmentRow, MeasurementRow.environment_id == EnvironmentRow.id)
        .where(*where)
        .order_by(MeasurementRow.id.desc())
        .limit(newest)
    )
    rows = session.execute(query).all()[::-1]
    ids = select(MeasurementRow.id).where(MeasurementRow.id.in_([row.id for row, _ in rows]))
    quantities = read_quantities(session, ids.subquery())
    return [
        (
            row.id,
            Measurement(
                aspect=row.aspect,
                key=row.key,
                quantities=tuple(quantities.get(row.id, {}).values()),
                environment=Environment(place.device, place.software, place.commit),
                seed=row.seed,
                seconds=row.seconds,
                detail=row.detail,
            ),
        )
        for row, place in rows
    ]


def read_quantities(session: Session, measurements: Subquery) -> dict[int, dict[str, Quantity]]:
    """The quantities, by name, of each measurement whose id is in the one column given."""
    (wanted,) = measurements.c
    rows = session.connection().execute(  # no entities: a fifth of the time saved
        select(
            QuantityRow.measurement_id,
            QuantityRow.name,  # from here on the fields of Quantity in their order
            QuantityRow.value,
            QuantityRow.spread,
            QuantityRow.samples,
            QuantityRow.unit,
            QuantityRow.higher,
            QuantityRow.comparable,
            QuantityRow.detail,
        )
        .join(measurements, QuantityRow.measurement_id == wanted)
        .order_by(QuantityRow.id)
    )
    found: dict[int, dict[str, Quantity]] = {}
    for measurement_id, name, *rest in rows:
        found.setdefault(measurement_id, {})[name] = Quantity(name, *rest)
    return found


def _environment_id(session: Session, place: Environment) -> int:
    query = select(EnvironmentRow.id).where(
        EnvironmentRow.device == place.device,
        EnvironmentRow.software == place.software,
        EnvironmentRow.commit == place.commit,
    )
    known = session.scalar(query)
    if known is None:
        insert_if_new(
            session,
            EnvironmentRow,
            device=place.device,
            software=place.software,
            commit=place.commit,
        )
        known = session.scalars(query).one()
    return known


def _finite(what: str, value: float) -> float:
    if math.isnan(value):
        raise MeasurementFailed("nan", f"{what} is not a number")
    if math.isinf(value):
        raise MeasurementFailed("infinite", f"{what} is infinite")
    return float(value)
