"""Space: a component tree in which some values are still open; JSON both ways, and narrowing.

    {"schema": 1, "space": {"decoder": {"is": "decoders/speculative", "drafter": {"oneof": [
        {"is": "drafters/jacobi", "window": {"oneof": [8, 16]}, …}, …]}, …}, …}}

It is a candidate's tree with one of these where a value or part is open:
    {"oneof": [a, b]}   {"manyof": {"count": 3, "among": [1, 2, 3, 4]}}
    {"float": {"low": 0.5, "high": 1.5, "log": false}}
Reading goes through the plug-ins as a whitelist of types; nothing is ever unpickled. Keys keep the
order in which PyGlove makes its decisions; reading does not depend on their order.
"""

from __future__ import annotations

import math
import runpy
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pyglove as pg

from paretoken.spaces.candidate import SCHEMA, Candidate, is_candidate
from paretoken.spaces.component import Component, Knob, Part
from paretoken.spaces.derive import choice
from paretoken.spaces.errors import BadInput, BadValue, UnknownName, short
from paretoken.spaces.narrowing import narrowed, parse_setting
from paretoken.spaces.plugins import KINDS, component

__all__ = ["Space", "load", "parse_setting", "preset_names"]


@dataclass(frozen=True)
class Space:
    """What a search may choose from. root: a component with `pg.oneof` and the like inside."""

    root: Component

    def __post_init__(self) -> None:
        if not isinstance(self.root, Component):
            raise BadInput(f"a space is a component with open values, not {self.root!r}.")
        _ = self.tree  # refuse now what could not be stored later

    @cached_property
    def tree(self) -> dict[str, Any]:
        """The tree under "space" in JSON. Shared: do not change it."""
        return _written(self.root)

    @cached_property
    def dna_spec(self) -> Any:
        """PyGlove's view: all that an algorithm sees."""
        return pg.dna_spec(self.root)

    @cached_property
    def size(self) -> float:
        """Number of candidates, before canonicalisation; infinite with continuous floats."""
        return _size(self.tree)

    def to_json(self) -> dict[str, Any]:
        """The document that `from_json` reads."""
        return {"schema": SCHEMA, "space": self.tree}

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Space:
        """Raises BadInput for another schema, UnknownName and BadValue as for a candidate."""
        known = document if isinstance(document, Mapping) else {}
        schema, tree = known.get("schema"), known.get("space")
        if type(schema) is not int or schema != SCHEMA or not isinstance(tree, Mapping):
            raise BadInput(
                f"a space has schema {schema!r}, but this version reads schema {SCHEMA} "
                "with an object 'space': start a new study."
            )
        try:
            return cls(_read_component(tree, kind=""))
        except RecursionError as error:
            raise BadInput(
                "a space is a few levels deep; this one is nested too deeply."
            ) from error

    def narrow(self, path: str, values: Iterable[Any]) -> Space:
        """The space in which the knob or part at `path` is one of `values`.

        path: dotted; its last name is the knob or part, the earlier ones occur in this order among
        the parts and plug-ins around it: `decoder.drafter.window`, `decoder.window` and
        `jacobi.window` are the same if nothing else has a window. Every match is narrowed.
        values: texts, as in `parse_setting`, or values; anything legal, on the grid or not; for a
        part, names of plug-ins or of named decoders. `low..high` is a continuous float or every
        integer between.
        Raises UnknownName for a path that matches nothing and BadValue with the legal range.
        """
        return Space(narrowed(self.root, path, tuple(values)))

    def fix(self, path: str, value: Any) -> Space:
        """The space in which the knob or part at `path` is that one value."""
        return self.narrow(path, (value,))


def _written(node: Component) -> dict[str, Any]:
    tree = {} if isinstance(node, Candidate) else {"is": node.tag()}
    for field, declared in node.fields.items():
        tree[field] = _written_value(node.sym_getattr(field), declared, f"{node.tag()}.{field}")
    return tree


def _written_value(value: Any, declared: Knob | Part, where: str) -> Any:
    if isinstance(value, pg.hyper.ManyOf) and isinstance(declared, Knob) and declared.many:
        in_order = (value.choices_distinct and value.choices_sorted) or declared.many == 1
        if in_order and value.num_choices == declared.many:
            among = [declared.check_member(v, where) for v in value.candidates]
            return {"manyof": {"count": value.num_choices, "among": among}}
    if isinstance(value, pg.hyper.OneOf):
        return {"oneof": [_written_value(v, declared, where) for v in value.candidates]}
    if isinstance(value, pg.hyper.Float) and value.scale in (None, "linear", "log"):
        log = value.scale == "log"
        return {"float": {"low": value.min_value, "high": value.max_value, "log": log}}
    if isinstance(value, Component):
        return _written(value)
    if isinstance(value, pg.hyper.HyperPrimitive):
        raise BadInput(
            f"{where}: a space holds oneof, sorted and distinct manyof of a list's length, and "
            f"floatv of scale linear or log; it cannot hold {type(value).__name__}."
        )
    return declared.check(value, where) if isinstance(declared, Knob) else value


def _read_component(tree: Any, kind: str) -> Component:
    if not isinstance(tree, Mapping):
        raise BadInput(f"one of the {kind or 'candidates'} is an object in JSON, not {tree!r}.")
    cls = component(str(tree.get("is", ""))) if "is" in tree or kind else Candidate
    if kind and cls.kind != kind:
        raise BadValue(f"one of the {kind} was expected, but was given {cls.tag()!r}.")
    for field in tree:
        if field not in cls.fields and field != "is":
            raise UnknownName(f"field of {cls.tag()}", str(field), cls.fields)
    values = {}
    for field, declared in cls.fields.items():
        if isinstance(declared, Part):
            otherwise: Any = {"is": f"{declared.kind}/{declared.default}"}
        else:
            otherwise = declared.default
        values[field] = _read_value(tree.get(field, otherwise), declared, f"{cls.tag()}.{field}")
    try:
        return cls(**values)
    except (ValueError, TypeError) as error:
        raise BadValue(f"{cls.tag()}: {' '.join(str(error).split())}") from error


def _read_value(node: Any, declared: Knob | Part, where: str) -> Any:
    options = _only(node, "oneof")
    if isinstance(options, list) and options:
        read = [_read_value(option, declared, where) for option in options]
        return read[0] if len(read) == 1 else pg.oneof(read)
    if isinstance(declared, Part):
        return _read_component(node, declared.kind)
    if not isinstance(node, Mapping):
        return declared.check(node, where)
    match _only(node, "manyof"), _only(node, "float"):
        case {"count": declared.many, "among": [*among]}, _ if declared.many:
            legal = [declared.check_member(one, where) for one in among]
            places = [declared.among.index(one) for one in legal]
            if places == sorted(set(places)) and len(places) >= declared.many:
                return choice(declared, legal)
        case _, {"low": low, "high": high, "log": bool(log)}:
            if isinstance(declared.default, float) and not declared.among:
                low, high = declared.check(low, where), declared.check(high, where)
                if low < high and (low > 0 or not log):
                    return pg.floatv(low, high, scale="log" if log else None)
    raise BadValue(f"{where} is {declared.legal}, or a choice among such; it cannot be {node!r}.")


def _only(node: Any, key: str) -> Any:
    """What an object holds under its only key, None if it is not such an object."""
    return node[key] if isinstance(node, Mapping) and node.keys() == {key} else None


def _size(node: Any) -> float:
    match node:
        case {"oneof": options}:
            return sum(map(_size, options))
        case {"manyof": {"count": count, "among": among}}:
            return math.comb(len(among), count)
        case {"float": _}:
            return math.inf
        case Mapping():
            return math.prod(_size(child) for child in node.values())
    return 1


def preset_names() -> list[str]:
    """The names of the presets, as on the command line: with hyphens."""
    return [name.replace("_", "-") for name in KINDS["presets"].names()]


def load(spec: str) -> Space:
    """The space of a preset's name, or of NAME in a Python file: `fashion-small`, `mine.py:SPACE`.

    NAME is a Space, a symbolic Candidate, or a function without arguments that returns one. The
    file is run. Raises BadInput where that fails, and where the space could not be stored.
    """
    if spec.endswith(".py"):
        raise BadInput(f"which space of {short(spec)}? Say {short(spec)}:NAME.")
    path, _, name = spec.rpartition(":")
    if not path.endswith(".py"):
        if spec not in preset_names():
            raise UnknownName("space", spec, preset_names(), "Or name a file: mine.py:SPACE.")
        found = KINDS["presets"].load(spec.replace("-", "_"))
    else:
        found = _from_file(Path(path), name)
    try:
        space = found() if callable(found) and not isinstance(found, Component) else found
    except Exception as error:
        raise BadInput(f"the space {spec} fails: {type(error).__name__}: {error}") from error
    space = Space(space) if isinstance(space, Component) else space
    if not (isinstance(space, Space) and is_candidate(space.root)):
        raise BadInput(f"{spec} is no space of candidates, but {space!r}.")
    Space.from_json(space.to_json())  # a study stores it: what it is made of must be plug-ins
    return space


def _from_file(path: Path, name: str) -> Any:
    try:
        there = path.is_file()
    except OSError:  # a name that is too long, say
        there = False
    if not there:
        raise BadInput(f"there is no file {short(str(path))}.")
    try:
        names = runpy.run_path(str(path))
    except Exception as error:  # somebody else's file may raise anything
        raise BadInput(f"{path} cannot be run: {type(error).__name__}: {error}") from error
    if name not in names:
        known = (key for key in names if not key.startswith("_"))
        raise UnknownName(f"space in {path}", name, known)
    return names[name]
