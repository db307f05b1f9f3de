"""Which trials fit a condition, the best of them, and the nearest: found inside the database.

Every point has all of its numbers beside it, so one reading of a study's points answers for any
conditions on numbers and any order; settings are read beside the points only where a condition is
about them. It takes as long as there are points, however wide the conditions are and whether
anybody meets them. A walk along an index would be faster where many fit, and much slower where
nobody does.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import ColumnElement, func
from sqlalchemy.orm import Session

from paretoken.cache.condition import Condition, leaves, mentions_settings
from paretoken.cache.filtering import fits, gap, shortfall
from paretoken.cache.rows import Rows, rows_of
from paretoken.spaces.objectives import Objective

_LAST = sys.float_info.max  # what is missing ranks behind every number


def best(
    session: Session,
    study_id: int,
    objective: Objective,
    condition: Condition | None,
    device: str = "",
) -> int | None:
    """The number of the best trial that fits; None if none does, or none has the number.

    Of equals the one that is better in the study's objectives, in their order, then the earlier
    one. Asked are the candidates that have a point. A number counts only under the conditions
    of trial 0's, if that has one of the name. device: see `rows_of`.
    """
    rows = rows_of(session, study_id, device)
    if rows is None:
        return None
    own = rows.number(objective.name)
    ties = [func.coalesce(_loss(rows, wanted), _LAST) for wanted in rows.objectives]
    found: int | None = session.connection().scalar(
        rows.select(rows.trial, settings=mentions_settings(condition))
        .where(own.is_not(None), *_where(rows, condition))
        .order_by(-own if objective.higher else own, *ties, rows.trial)
        .limit(1)
    )
    return found


def matching(
    session: Session, study_id: int, condition: Condition | None, device: str = ""
) -> list[int]:
    """The numbers of the trials that fit, rising; asked are `rows_of` the study."""
    rows = rows_of(session, study_id, device)
    if rows is None:
        return []
    wanted = rows.select(rows.trial, settings=mentions_settings(condition))
    found = session.connection().scalars(
        wanted.where(*_where(rows, condition)).order_by(rows.trial)
    )
    return list(found)


def front(
    session: Session,
    study_id: int,
    objectives: Sequence[Objective],
    condition: Condition | None,
    device: str = "",
) -> list[int]:
    """The numbers of the trials that fit and that no other one that fits dominates, rising."""
    rows = rows_of(session, study_id, device)
    if rows is None:
        return []
    losses = [_loss(rows, objective) for objective in objectives]
    wanted = rows.select(rows.trial, *losses, settings=mentions_settings(condition)).where(
        *(loss.is_not(None) for loss in losses), *_where(rows, condition)
    )
    found = session.connection().execute(wanted.order_by(rows.trial)).all()
    if not found:
        return []
    import moocore  # type: ignore[import-untyped]  # a tenth of a second, so not on top

    kept = moocore.is_nondominated([losses for _, *losses in found], keep_weakly=True)
    return [number for (number, *_), stays in zip(found, kept, strict=True) if stays]


@dataclass(frozen=True)
class Near:
    """The trial that comes nearest to a condition. gaps: of each comparison, by `filtering.gap`.

    gaps: for the comparison being true, and for its being false.
    """

    number: int
    gaps: tuple[tuple[float, float], ...]


def nearest(session: Session, study_id: int, condition: Condition, device: str = "") -> Near | None:
    """The trial with the least shortfall, the earliest of several; None where there is none."""
    rows = rows_of(session, study_id, device)
    if rows is None:
        return None
    compared = [
        gap(rows, leaf, wanted=wanted) for leaf in leaves(condition) for wanted in (True, False)
    ]
    found = (
        session.connection()
        .execute(
            rows.select(rows.trial, *compared, settings=mentions_settings(condition))
            .order_by(shortfall(rows, condition), rows.trial)
            .limit(1)
        )
        .first()
    )
    if found is None:
        return None
    number, *gaps = found
    return Near(number, tuple(zip(gaps[::2], gaps[1::2], strict=True)))


def _where(rows: Rows, condition: Condition | None) -> list[ColumnElement[bool]]:
    return [] if condition is None else [fits(rows, condition)]


def _loss(rows: Rows, wanted: Objective) -> ColumnElement[float]:
    column = rows.number(wanted.name)
    return -column if wanted.higher else column
