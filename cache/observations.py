"""Measurements in and out of the database: a row, its quantities and its environment."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import asdict

from sqlalchemy import ColumnElement, Subquery, bindparam, select
from sqlalchemy.orm import Session

from paretoken.cache.bulk import insert_if_new, insert_numbered, insert_rows
from paretoken.cache.clock import now
from paretoken.cache.schema import EnvironmentRow, MeasurementRow, QuantityRow
from paretoken.spaces.errors import BadValue, MeasurementFailed
from paretoken.spaces.records import Environment, Measurement, Quantity

ASPECTS = ("quality", "speed")
_MOST_SEED = 2**63  # what an SQL integer holds
_ENVIRONMENT = select(EnvironmentRow.id).where(
    EnvironmentRow.device == bindparam("device"),
    EnvironmentRow.software == bindparam("software"),
    EnvironmentRow.commit == bindparam("commit"),
)


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


def check_measurement(observed: Measurement) -> None:
    """Raise BadValue for what no row can hold, and MeasurementFailed for what cannot be compared.

    The latter ("nan" or "infinite") means that the candidate has failed: a failure is a record of
    its own.
    """
    check_aspect(observed.aspect)
    check_seed(observed.seed)
    for quantity in observed.quantities:
        _check_finite(quantity.name, quantity.value)
        _check_finite(f"the spread of {quantity.name}", quantity.spread)


def insert_measurements(
    session: Session, observed: Sequence[tuple[str, int, Measurement]]
) -> list[int]:
    """Add observations, each with its candidate and its class; returns their ids in that order."""
    places = environment_ids(session, {each.environment for _, _, each in observed})
    created = now()
    rows = [
        {
            "candidate_id": candidate_id,
            "environment_id": places[each.environment],
            "class_id": class_id,
            "aspect": each.aspect,
            "key": each.key,
            "work": each.work,
            "tokens": each.tokens,
            "trace": each.trace,
            "fresh": each.fresh,
            "seed": each.seed,
            "seconds": float(each.seconds),
            "detail": each.detail,
            "created": created,
        }
        for candidate_id, class_id, each in observed
    ]
    ids = insert_numbered(session, MeasurementRow, rows)
    quantities = [
        {
            "measurement_id": measurement_id,
            "name": quantity.name,
            "value": float(quantity.value),
            "spread": float(quantity.spread),
            "samples": int(quantity.samples),
            "unit": quantity.unit,
            "higher": quantity.higher,
            "comparable": quantity.comparable,
            "detail": quantity.detail,
        }
        for measurement_id, (_, _, each) in zip(ids, observed, strict=True)
        for quantity in each.quantities
    ]
    insert_rows(session, QuantityRow, quantities)
    return ids


def read_measurements(session: Session, *where: ColumnElement[bool]) -> list[Measurement]:
    """The measurements that fulfil all of `where`, oldest first."""
    query = (
        select(MeasurementRow, EnvironmentRow)
        .join(EnvironmentRow, MeasurementRow.environment_id == EnvironmentRow.id)
        .where(*where)
        .order_by(MeasurementRow.id)
    )
    quantities = _read_quantities(session, select(MeasurementRow.id).where(*where).subquery())
    return [
        Measurement(
            aspect=row.aspect,
            key=row.key,
            quantities=tuple(quantities.get(row.id, ())),
            environment=Environment(place.device, place.software, place.commit),
            seed=row.seed,
            seconds=row.seconds,
            detail=row.detail,
            work=row.work,
            tokens=row.tokens,
            trace=row.trace,
            fresh=row.fresh,
        )
        for row, place in session.execute(query)
    ]


def environment_ids(session: Session, places: Iterable[Environment]) -> dict[Environment, int]:
    """The id of each environment, which is added where it is new."""
    return {place: _environment_id(session, place) for place in places}


def _environment_id(session: Session, place: Environment) -> int:
    connection, asked = session.connection(), asdict(place)
    known = connection.scalar(_ENVIRONMENT, asked)
    if known is None:
        insert_if_new(session, EnvironmentRow, **asked)
        known = connection.scalars(_ENVIRONMENT, asked).one()
    return known


def _read_quantities(session: Session, measurements: Subquery) -> dict[int, list[Quantity]]:
    (wanted,) = measurements.c
    rows = session.connection().execute(
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
    found: dict[int, list[Quantity]] = {}
    for measurement_id, *fields in rows:
        found.setdefault(measurement_id, []).append(Quantity(*fields))
    return found


def _check_finite(what: str, value: float) -> None:
    if math.isnan(value):
        raise MeasurementFailed("nan", f"{what} is not a number")
    if math.isinf(value):
        raise MeasurementFailed("infinite", f"{what} is infinite")
