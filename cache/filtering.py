"""Conditions as SQL: whether a trial fits one, and how far from that it is.

Values reach the database as parameters only; names of numbers and settings were looked up before.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from sqlalchemy import (
    Boolean,
    ColumnElement,
    Double,
    Text,
    and_,
    case,
    cast,
    false,
    func,
    literal,
    not_,
    null,
    or_,
    true,
)

from paretoken.cache.condition import (
    MISSING,
    SIGNS,
    Compare,
    Condition,
    Every,
    Missing,
    Not,
    Number,
    Operand,
    Setting,
    Some,
)
from paretoken.cache.settings_json import FLAG, NULL, NUMBER, TEXT, SettingsColumn

_ORDERED = (NUMBER, TEXT)
UNKNOWN_GAP = 1e6  # of a comparison with what is missing: farther than any sum of relative gaps


class Row(Protocol):
    """A trial as SQL expressions."""

    @property
    def settings(self) -> SettingsColumn:
        """Its settings."""

    def number(self, name: str) -> ColumnElement[float]:
        """A number of it that counts in the study, NULL where there is none."""


@dataclass(frozen=True)
class _Side:
    """One side of a comparison: its kind, None if only the database knows, and its values."""

    kind: str | None
    found: ColumnElement[Any]  # the kind of a setting, else the number or the value
    values: Callable[[str, bool], ColumnElement[Any]]

    def has(self, kind: str) -> ColumnElement[bool]:
        if self.kind is None:
            return self.found == kind
        return true() if self.kind == kind else false()


def fits(row: Row, condition: Condition) -> ColumnElement[bool]:
    """Whether the trial fits: true, false, or NULL for unknown."""
    match condition:
        case Compare():
            return _compare(row, condition)
        case Not(part):
            return not_(fits(row, part))
        case Every(parts):
            return and_(*(fits(row, part) for part in parts))
        case Some(parts):
            return or_(*(fits(row, part) for part in parts))


def gap(row: Row, leaf: Compare, *, wanted: bool) -> ColumnElement[float]:
    """How far a trial is from a comparison being as wanted: 0 where it is.

    Between numbers the difference relative to both, between others 1, UNKNOWN_GAP where something
    is missing.
    """
    truth = _compare(row, leaf)
    held = truth if wanted else not_(truth)
    return case((held, 0.0), (truth.is_(None), UNKNOWN_GAP), else_=_distance(row, leaf))


def shortfall(row: Row, condition: Condition, *, wanted: bool = True) -> ColumnElement[float]:
    """How far a trial is from fitting: gaps add up over what must all hold; else the least."""
    match condition:
        case Compare():
            return gap(row, condition, wanted=wanted)
        case Not(part):
            return shortfall(row, part, wanted=not wanted)
        case Every(parts) | Some(parts):
            each = [shortfall(row, part, wanted=wanted) for part in parts]
            if isinstance(condition, Every) == wanted:
                return sum(each[1:], each[0])
            least = each[0]
            for one in each[1:]:
                least = func.min(least, one) if _is_sqlite(row) else func.least(least, one)
            return least


def _compare(row: Row, leaf: Compare) -> ColumnElement[bool]:
    left, sign, right = leaf.left, leaf.sign, leaf.right
    if isinstance(left, Missing) or isinstance(right, Missing):
        return _presence(row, left if isinstance(right, Missing) else right, sign)
    one, other = _side(row, left), _side(row, right)
    whole = any(isinstance(side, str) and "/" in side for side in (left, right))
    if one.kind == other.kind == NUMBER:
        result: ColumnElement[bool] = SIGNS[sign](
            one.values(NUMBER, False), other.values(NUMBER, False)
        )
        return result
    equality = sign in ("==", "!=")
    whens: list[tuple[ColumnElement[bool], Any]] = []
    absent = [side.found.is_(None) for side in (one, other) if side.kind in (None, NUMBER)]
    if absent:
        whens.append((or_(*absent), _unknown()))
    for kind in (NUMBER, TEXT, FLAG) if equality else _ORDERED:
        if one.kind in (None, kind) and other.kind in (None, kind):
            compared = SIGNS[sign](one.values(kind, whole), other.values(kind, whole))
            whens.append((and_(one.has(kind), other.has(kind)), compared))
    if equality:
        same = sign == "=="
        if one.kind in (None, NULL) and other.kind in (None, NULL):
            whens.append((and_(one.has(NULL), other.has(NULL)), true() if same else false()))
        unlike = false() if same else true()
        return case(*whens, else_=unlike) if whens else unlike
    return case(*whens, else_=_unknown()) if whens else _unknown()


def _presence(row: Row, side: Operand, sign: str) -> ColumnElement[bool]:
    """Whether there is something, or nothing; never unknown."""
    if isinstance(side, Number | Setting):
        found = _side(row, side).found
        return found.is_(None) if sign == "==" else found.is_not(None)
    return true() if (side is MISSING) == (sign == "==") else false()


def _side(row: Row, side: Operand) -> _Side:
    match side:
        case Number(name):
            column = row.number(name)
            return _Side(NUMBER, column, lambda kind, whole: column)
        case Setting(path):
            settings = row.settings

            def value(kind: str, whole: bool) -> ColumnElement[Any]:
                if kind == TEXT:
                    return settings.text(path, whole=whole)
                return settings.number(path) if kind == NUMBER else settings.flag(path)

            return _Side(None, settings.kind(path), value)
        case bool():
            return _constant(FLAG, literal("true" if side else "false", Text))
        case str():
            return _constant(TEXT, literal(side, Text))
        case int() | float():
            return _constant(NUMBER, literal(float(side), Double))
    return _constant(NULL, null())


def _constant(kind: str, value: ColumnElement[Any]) -> _Side:
    return _Side(kind, value, lambda kind, whole: value)


def _distance(row: Row, leaf: Compare) -> ColumnElement[float]:
    """Between two numbers the difference relative to both; else 1."""
    if isinstance(leaf.left, Missing) or isinstance(leaf.right, Missing):
        return literal(1.0, Double)
    sides = [_side(row, side) for side in (leaf.left, leaf.right)]
    if any(side.kind not in (None, NUMBER) for side in sides):
        return literal(1.0, Double)
    one, other = (side.values(NUMBER, False) for side in sides)
    relative = func.abs(one - other) / func.nullif(func.abs(one) + func.abs(other), 0.0)
    both = and_(*(side.has(NUMBER) for side in sides))
    return case((both, func.coalesce(relative, 1.0)), else_=1.0)


def _unknown() -> ColumnElement[bool]:
    """Unknown: PostgreSQL takes a bare NULL among others for text."""
    return cast(null(), Boolean)


def _is_sqlite(row: Row) -> bool:
    return row.settings.is_sqlite
