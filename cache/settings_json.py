"""Settings inside the database: their values in the stored JSON text, and which there are at all.

Both databases read JSON; their functions differ in name and in what they call a type.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import JSON, ColumnElement, Double, Text, case, cast, func, select, type_coerce
from sqlalchemy.orm import Session

from paretoken.cache.schema import CandidateRow, TrialRow

NUMBER, TEXT, FLAG, NULL = "number", "text", "flag", "null"

_KINDS = {  # what SQLite and PostgreSQL call them; a list counts as its text
    "integer": NUMBER, "real": NUMBER, "number": NUMBER,
    "text": TEXT, "string": TEXT, "array": TEXT,
    "true": FLAG, "false": FLAG, "boolean": FLAG,
    "null": NULL,
}  # fmt: skip
_REMEMBERED = 1000  # different texts


class SettingsColumn:
    """The settings of a candidate as SQL expressions; one for each database."""

    def __init__(self, dialect: str) -> None:
        self.is_sqlite = dialect == "sqlite"

    def kind(self, path: tuple[str, ...]) -> ColumnElement[str | None]:
        """NUMBER, TEXT (a component too), FLAG or NULL; SQL's NULL where there is nothing."""
        found = self._type(path)
        component = case((self._type((*path, "is")).is_not(None), TEXT))
        return case(
            *((found == written, kind) for written, kind in _KINDS.items()),
            (found == "object", component),
        )

    def number(self, path: tuple[str, ...]) -> ColumnElement[float]:
        """The value of what is of kind NUMBER: ask for nothing else's."""
        found = self._value(path)
        return type_coerce(found, Double) if self.is_sqlite else cast(found, Double)

    def text(self, path: tuple[str, ...], *, whole: bool = False) -> ColumnElement[str]:
        """The value of what is of kind TEXT. whole: the name of a component with its kind."""
        if path[-1] == "is":
            return self._name(path, whole)
        tag = (*path, "is")
        found = case(
            (self._type(tag).is_not(None), self._name(tag, whole)), else_=self._value(path)
        )
        return self._ordered(found)

    def flag(self, path: tuple[str, ...]) -> ColumnElement[str]:
        """The value of what is of kind FLAG: "true" or "false"."""
        return self._type(path) if self.is_sqlite else self._value(path)

    def _name(self, path: tuple[str, ...], whole: bool) -> ColumnElement[str]:
        found = self._value(path)
        if not whole:
            where = func.instr(found, "/") if self.is_sqlite else func.strpos(found, "/")
            found = func.substr(found, where + 1)
        return self._ordered(found)

    def _ordered(self, found: ColumnElement[Any]) -> ColumnElement[str]:
        """Text that compares letter by letter, whatever language the database was made in."""
        text: ColumnElement[str] = type_coerce(found, Text)
        return text if self.is_sqlite else text.collate("C")

    def _type(self, path: tuple[str, ...]) -> ColumnElement[str]:
        if self.is_sqlite:
            return func.json_type(CandidateRow.json, _address(path), type_=Text)
        document = cast(CandidateRow.json, JSON)
        return func.json_typeof(
            func.json_extract_path(document, "candidate", *path, type_=JSON), type_=Text
        )

    def _value(self, path: tuple[str, ...]) -> ColumnElement[Any]:
        if self.is_sqlite:
            return func.json_extract(CandidateRow.json, _address(path), type_=Text)
        document = cast(CandidateRow.json, JSON)
        return func.json_extract_path_text(document, "candidate", *path, type_=Text)


@dataclass(frozen=True)
class KnownSettings:
    """What finished candidates of a study have set. kinds: by path. texts: values."""

    kinds: dict[str, set[str]] = field(default_factory=dict)
    texts: set[str] = field(default_factory=set)


def read_known_settings(session: Session, study_id: int) -> KnownSettings:
    """The paths that finished candidates of a study have, with the kinds of their values."""
    known = KnownSettings()
    rows = session.connection().scalars(
        select(CandidateRow.json)
        .join(TrialRow, TrialRow.candidate_id == CandidateRow.id)
        .where(TrialRow.study_id == study_id, TrialRow.state == "done")
        .execution_options(yield_per=1000)
    )
    for text in rows:
        _learn(known, json.loads(text)["candidate"], "")
    return known


def _learn(known: KnownSettings, node: Mapping[str, Any], above: str) -> None:
    for key, value in node.items():
        path = f"{above}{key}"
        kind = TEXT
        if isinstance(value, dict):
            _learn(known, value, f"{path}.")
            if "is" not in value:
                continue
        elif value is None:
            kind = NULL
        elif isinstance(value, bool):
            kind = FLAG
        elif isinstance(value, int | float):
            kind = NUMBER
        elif isinstance(value, str) and len(known.texts) < _REMEMBERED:
            known.texts.add(value.rpartition("/")[2] if key == "is" else value)
        known.kinds.setdefault(path, set()).add(kind)


def _address(path: tuple[str, ...]) -> str:
    """The place in SQLite's words: keys are identifiers, so that quotes are enough."""
    return "$" + "".join(f'."{key}"' for key in ("candidate", *path))
