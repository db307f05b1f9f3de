"""Which numbers of a study compare, and in which columns of `points` they are kept.

Trial 0 is plain decoding. A number that was found under other conditions than its number of the
same name, or a speed of another device or other software, compares with nothing in the study.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import bindparam, delete, select
from sqlalchemy.orm import InstrumentedAttribute, Session

from paretoken.cache.bulk import insert_rows, slices
from paretoken.cache.schema import SLOTS, ClassRow, MeanRow, NumberRow, StudyRow, TrialRow
from paretoken.spaces.objectives import Objective

Axes = tuple[Objective, Objective]

_NUMBERS = select(
    NumberRow.name,
    NumberRow.slot,
    NumberRow.aspect,
    NumberRow.comparable,
    NumberRow.device,
    NumberRow.software,
).where(NumberRow.study_id == bindparam("study"))
_OBJECTIVES = select(StudyRow.objectives).where(StudyRow.id == bindparam("study"))
_FOUND = (
    select(
        ClassRow.id,
        ClassRow.aspect,
        ClassRow.device,
        ClassRow.software,
        MeanRow.name,
        MeanRow.mean,
        MeanRow.comparable,
    )
    .outerjoin(MeanRow, MeanRow.class_id == ClassRow.id)
    .where(ClassRow.id.in_(bindparam("classes", expanding=True)))
)


@dataclass(frozen=True)
class Found:
    """The finite means of one class, each with what it compares under, and where they were found.

    device and software are empty for a quality, which is the same wherever it was measured.
    """

    aspect: str
    device: str
    software: str
    means: Mapping[str, tuple[float, str]]


@dataclass(frozen=True)
class Terms:
    """Which numbers of one name take part: see `schema.NumberRow`."""

    aspect: str
    comparable: str | None
    device: str
    software: str

    def admit(self, found: Found, comparable: str) -> bool:
        """Whether a number of that class compares with trial 0's."""
        if self.aspect != found.aspect:
            return False
        there = (comparable, found.device, found.software)
        return self.comparable is None or there == (self.comparable, self.device, self.software)


@dataclass
class Numbers:
    """What the trials of a study have numbers of, as far as it has turned up.

    Nothing before trial 0 says what compares. slots: by name, of the column of `points`; None where
    a number is in none.
    """

    study_id: int
    objectives: tuple[Objective, ...]
    terms: dict[str, Terms]
    slots: dict[str, int | None]

    @property
    def axes(self) -> Axes | None:
        """The objectives that points lie on, a single one twice; None where there are no points."""
        return _axes(self.objectives, self.terms)

    @property
    def plain(self) -> dict[str, Terms]:
        """Those that trial 0 has."""
        return {name: terms for name, terms in self.terms.items() if terms.comparable is not None}

    def counted(self, found: Found) -> dict[str, float]:
        """The means of a class that count in the study."""
        return {
            name: mean
            for name, (mean, comparable) in found.means.items()
            if name in self.terms and self.terms[name].admit(found, comparable)
        }

    def columns(self, values: Mapping[str, float], aspect: str) -> dict[str, float | None]:
        """The columns of `points` that a class of this aspect fills, by its numbers that count."""
        return {
            f"n{slot}": values.get(name)
            for name, slot in self.slots.items()
            if slot is not None and self.terms[name].aspect == aspect
        }


def class_column(aspect: str) -> InstrumentedAttribute[int | None]:
    """The column by which a trial points at its class of that aspect."""
    return TrialRow.speed_id if aspect == "speed" else TrialRow.quality_id


def read_numbers(session: Session, study_id: int) -> Numbers:
    """What is known of a study's numbers."""
    rows = session.connection().execute(_NUMBERS, {"study": study_id})
    numbers = Numbers(study_id, objectives_of(session, study_id), {}, {})
    for name, slot, aspect, comparable, device, software in rows:
        numbers.terms[name] = Terms(aspect, comparable, device, software)
        numbers.slots[name] = slot
    return numbers


def begin_numbers(session: Session, study_id: int) -> Numbers:
    """Find out anew what the trials of a study have numbers of, and under which conditions."""
    session.connection().execute(delete(NumberRow).where(NumberRow.study_id == study_id))
    numbers = Numbers(study_id, objectives_of(session, study_id), {}, {})
    plain = plain_terms(session, study_id)
    if not plain:
        return numbers
    _add(session, numbers, plain)
    for column in (TrialRow.speed_id, TrialRow.quality_id):  # who has both answers with the speed
        used = (
            select(MeanRow.name, ClassRow.aspect)
            .join(ClassRow, MeanRow.class_id == ClassRow.id)
            .join(TrialRow, column == ClassRow.id)
            .where(TrialRow.study_id == study_id)
            .distinct()
        )
        learn(session, numbers, session.connection().execute(used).all())
    return numbers


def learn(session: Session, numbers: Numbers, seen: Iterable[Sequence[str]]) -> bool:
    """Take in the names (name, aspect) that the study had no number of so far.

    False where what is kept is wrong now: a speed has a name that only qualities had.
    """
    new: dict[str, Terms] = {}
    for name, aspect in sorted(seen, key=lambda each: (each[1] != "speed", each[0])):
        known = numbers.terms.get(name) or new.get(name)
        if known is None:
            new[name] = Terms(aspect, None, "", "")
        elif known.comparable is None and known.aspect != aspect == "speed":
            return False
    _add(session, numbers, new)
    return True


def plain_terms(session: Session, study_id: int) -> dict[str, Terms]:
    """The conditions of the numbers of a study's trial 0; none before it is finished.

    None as well where it lacks an objective's number, so that there is nothing to compare.
    """
    plain = {
        name: Terms(found.aspect, comparable, found.device, found.software)
        for found in plain_found(session, study_id)
        for name, (_, comparable) in sorted(found.means.items())
    }
    return plain if _axes(objectives_of(session, study_id), plain) else {}


def plain_found(session: Session, study_id: int) -> list[Found]:
    """What was found of a study's trial 0: its quality, then its speed, as far as there are any."""
    classes = select(TrialRow.quality_id, TrialRow.speed_id).where(
        TrialRow.study_id == study_id, TrialRow.number == 0
    )
    ids = [class_id for row in session.connection().execute(classes) for class_id in row]
    return sorted(read_found(session, ids).values(), key=lambda found: found.aspect)


def read_found(session: Session, classes: Iterable[int | None]) -> dict[int | None, Found]:
    """What was found in some classes, by id."""
    found: dict[int | None, Found] = {}
    means: dict[int, dict[str, tuple[float, str]]] = {}
    for some in slices(sorted({each for each in classes if each is not None})):
        rows = session.connection().execute(_FOUND, {"classes": some})
        for class_id, aspect, device, software, name, mean, comparable in rows:
            if class_id not in found:
                means[class_id] = {}
                found[class_id] = Found(aspect, device, software, means[class_id])
            if name is not None and math.isfinite(mean):
                means[class_id][name] = (mean, comparable)
    return found


def objectives_of(session: Session, study_id: int) -> tuple[Objective, ...]:
    """What the study wants, in its order."""
    (wanted,) = session.connection().execute(_OBJECTIVES, {"study": study_id}).one()
    return tuple(Objective(**fields) for fields in wanted)


def _axes(objectives: Sequence[Objective], plain: Mapping[str, Terms]) -> Axes | None:
    if not objectives or any(wanted.name not in plain for wanted in objectives[:2]):
        return None
    return objectives[0], objectives[:2][-1]


def _add(session: Session, numbers: Numbers, new: Mapping[str, Terms]) -> None:
    """Keep the conditions of new names, and give each a column while there is one."""
    on_axes = {wanted.name for wanted in numbers.objectives[:2]}
    used = sum(slot is not None for slot in numbers.slots.values())
    rows = []
    for name, terms in new.items():
        slot = used if name not in on_axes and used < SLOTS else None
        used += slot is not None
        numbers.terms[name], numbers.slots[name] = terms, slot
        rows.append({"study_id": numbers.study_id, "name": name, "slot": slot, **vars(terms)})
    insert_rows(session, NumberRow, rows)
