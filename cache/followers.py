"""Who follows a class: the statements on the trials and the points that use its means.

A class may move with every observation, so each statement is built once for either aspect. Their
parameters are `of_study`, the study's id, and `of_class`, the class's.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

from sqlalchemy import (
    BindParameter,
    ColumnElement,
    Delete,
    Select,
    Update,
    and_,
    bindparam,
    delete,
    func,
    or_,
    select,
    update,
)

from paretoken.cache.numbers import class_column
from paretoken.cache.schema import FrontRow, PointRow, TrialRow

_STUDY: BindParameter[int] = bindparam("of_study")
_IN_STUDY = TrialRow.study_id == _STUDY


@dataclass(frozen=True)
class Followers:
    """studies: the ids of those with trials of the class. plain: trial 0, where it is one of them.
    trials: their ids. limits: of their points, the least and the most x and y. off_front,
    off_points: takes them out of there.
    """

    studies: Select[int]
    plain: Select[int]
    trials: Select[int]
    limits: Select[float, float, float, float]
    off_front: Delete
    off_points: Delete


@cache
def followers(aspect: str) -> Followers:
    """Those of a class of that aspect."""
    users, theirs = _users(aspect), _points(aspect)
    return Followers(
        studies=select(TrialRow.study_id).where(users).distinct().order_by(TrialRow.study_id),
        plain=select(TrialRow.id).where(_IN_STUDY, TrialRow.number == 0, users),
        trials=select(TrialRow.id).where(_IN_STUDY, users),
        limits=select(
            func.min(PointRow.x), func.max(PointRow.x), func.min(PointRow.y), func.max(PointRow.y)
        ).where(theirs),
        off_front=delete(FrontRow).where(
            FrontRow.study_id == _STUDY, FrontRow.number.in_(_numbers(aspect))
        ),
        off_points=delete(PointRow).where(theirs),
    )


@cache
def moving(aspect: str, names: tuple[str, ...]) -> Update:
    """Sets these columns of their points where they differ; parameters: `new_` and a name."""
    stored = PointRow.__table__.c
    new = {name: bindparam(f"new_{name}", type_=stored[name].type) for name in names}
    stale = or_(*(stored[name].is_distinct_from(value) for name, value in new.items()))
    return update(PointRow).where(_points(aspect), stale).values(new)


def _users(aspect: str) -> ColumnElement[bool]:
    return class_column(aspect) == bindparam("of_class")


def _numbers(aspect: str) -> Select[int]:
    return select(TrialRow.number).where(_IN_STUDY, _users(aspect))


def _points(aspect: str) -> ColumnElement[bool]:
    return and_(PointRow.study_id == _STUDY, PointRow.number.in_(_numbers(aspect)))
