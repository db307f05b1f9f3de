"""Classes of equal behaviour: which one a candidate belongs to, and what its observations say."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from sqlalchemy import ColumnElement, Select, Subquery, bindparam, func, select
from sqlalchemy.orm import Session

from paretoken.cache.means import RunningMean
from paretoken.cache.observations import check_aspect
from paretoken.cache.schema import ClassRow, MeanRow, MeasurementRow
from paretoken.spaces.errors import BadInput, BadValue
from paretoken.spaces.records import BehaviourClass, Environment, Measurement, Quantity

_ONE = select(ClassRow.id).where(ClassRow.id == bindparam("class")).subquery()


@dataclass(frozen=True, order=True)
class Family:
    """What the parts of one class share: it is one class until a disagreement splits it."""

    aspect: str
    key: str
    device: str
    software: str

    @classmethod
    def of(cls, measurement: Measurement) -> Family:
        """The family that a measurement belongs to. A quality is the same wherever it was made."""
        place = measurement.environment if measurement.aspect == "speed" else Environment("", "")
        return cls(measurement.aspect, measurement.key, place.device, place.software)

    def parts(self) -> tuple[ColumnElement[bool], ...]:
        """The condition on ClassRow."""
        return (
            ClassRow.aspect == self.aspect,
            ClassRow.key == self.key,
            ClassRow.device == self.device,
            ClassRow.software == self.software,
        )


def find_class(
    session: Session,
    aspect: str,
    environment: Environment | None,
    candidate_id: str,
    *,
    key: str = "",
    work: str = "",
    tokens: str = "",
) -> int | None:
    """The class that answers for a candidate, by exactly one of key, work and tokens.

    A candidate that was split off finds its own part. By tokens, the newest measurement that
    emitted the same leads to its class; by work, which was only predicted, to the part of that
    class which nobody disagreed with.
    """
    check_aspect(aspect)
    if sum(map(bool, (key, work, tokens))) != 1:
        raise BadValue("a class is found by one of key, work and tokens: give exactly one.")
    if aspect == "speed" and environment is None:
        raise BadInput("a speed is found for one environment: name it.")
    place = environment if environment and aspect == "speed" else Environment("", "")
    family, answer = Family(aspect, key, place.device, place.software), None
    if not key:
        column, value = (MeasurementRow.work, work) if work else (MeasurementRow.tokens, tokens)
        newest = session.execute(
            select(ClassRow.id, ClassRow.key)
            .join(MeasurementRow, MeasurementRow.class_id == ClassRow.id)
            .where(
                MeasurementRow.aspect == aspect,
                column == value,
                ClassRow.device == place.device,
                ClassRow.software == place.software,
            )
            .order_by(MeasurementRow.id.desc())
            .limit(1)
        ).one_or_none()
        if newest is None:
            return None
        family = Family(aspect, newest.key, place.device, place.software)
        answer = newest.id if tokens else None
    parts = list(
        session.scalars(select(ClassRow.id).where(*family.parts()).order_by(ClassRow.split))
    )
    if not parts:
        return None
    own = _own_part(session, candidate_id, parts) if len(parts) > 1 else None
    return own or answer or parts[0]


def count_observations(
    session: Session,
    aspect: str,
    environment: Environment | None,
    *,
    key: str = "",
    work: str = "",
) -> int:
    """How many observations were ever made under a key, or of predicted work, whatever the class.

    Work is only predicted: two observations of it may belong to two classes.
    """
    place = environment if environment and aspect == "speed" else Environment("", "")
    asked = MeasurementRow.key == key if key else MeasurementRow.work == work
    return session.scalars(
        select(func.count())
        .join_from(MeasurementRow, ClassRow, MeasurementRow.class_id == ClassRow.id)
        .where(
            MeasurementRow.aspect == check_aspect(aspect),
            asked,
            ClassRow.device == place.device,
            ClassRow.software == place.software,
        )
    ).one()


def _own_part(session: Session, candidate_id: str, parts: list[int]) -> int | None:
    """The class among `parts` that has observations of the candidate: at most one does."""
    return session.scalar(
        select(MeasurementRow.class_id)
        .where(MeasurementRow.candidate_id == candidate_id, MeasurementRow.class_id.in_(parts))
        .limit(1)
    )


def read_class(session: Session, class_id: int) -> BehaviourClass:
    """The record of a class, with everyone who was observed in it."""
    row = session.get_one(ClassRow, class_id)
    observed = select(MeasurementRow.candidate_id).where(MeasurementRow.class_id == class_id)
    return BehaviourClass(
        id=row.id,
        aspect=row.aspect,
        key=row.key,
        split=row.split,
        count=row.count,
        fresh=row.fresh,
        candidates=frozenset(session.scalars(observed.distinct())),
        seconds=row.seconds,
        quantities=read_means(session, _ONE, {"class": class_id}).get(class_id, {}),
    )


def read_means(
    session: Session, classes: Subquery, asked: Mapping[str, Any] | None = None
) -> dict[int, dict[str, Quantity]]:
    """The means, by name, of each class whose id is in the one column given.

    asked: values of the parameters of that query.
    """
    rows = session.connection().execute(_means_of(classes), asked or {})
    found: dict[int, dict[str, Quantity]] = {}
    for class_id, name, *fields in rows:
        found.setdefault(class_id, {})[name] = RunningMean(*fields).quantity(name)
    return found


@lru_cache(16)
def _means_of(classes: Subquery) -> Select[*tuple[Any, ...]]:
    (wanted,) = classes.c
    return (
        select(
            MeanRow.class_id,
            MeanRow.name,
            MeanRow.count,  # from here on the fields of RunningMean in their order
            MeanRow.mean,
            MeanRow.squares,
            MeanRow.variance,
            MeanRow.samples,
            MeanRow.unit,
            MeanRow.higher,
            MeanRow.comparable,
            MeanRow.detail,
        )
        .join(classes, MeanRow.class_id == wanted)
        .order_by(MeanRow.class_id, MeanRow.name)
    )
