"""A candidate: a component tree with every value chosen, and its plain tree in both directions.

Most candidates say how a model is decoded: `Candidate`. What else can be searched has a root of its
own, a component of kind `candidates` (`candidates/training`), whose tree says so with "is".

Reading goes through the plug-ins as a whitelist of types; nothing is ever unpickled.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pyglove as pg

from paretoken.spaces.component import Component, Part, part
from paretoken.spaces.errors import BadInput, BadValue, UnknownName
from paretoken.spaces.plugins import component

# The JSON side lives in `spaces.settings`, which needs no PyGlove; it is the same thing here.
from paretoken.spaces.settings import SCHEMA, Tree, dumps, loads, summary

__all__ = ["SCHEMA", "Candidate", "Tree", "dumps", "from_tree", "loads", "summary", "to_tree"]


class Candidate(Component):
    """How one model is decoded: decoder, sampling law and runtime."""

    decoder: Component = part("decoders", default="speculative", doc="The decoding loop.")
    sampling: Component = part("samplings", default="standard", doc="The target sampling law.")
    runtime: Component = part("runtimes", default="local", doc="Precision, batch and capture.")


def is_candidate(value: Any) -> bool:
    """Whether a component is the root of a candidate, and no part of one."""
    return isinstance(value, Candidate) or getattr(value, "kind", "") == "candidates"


def root_of(tree: Mapping[str, Any]) -> type[Component]:
    """The class of a candidate's tree; raises UnknownName or BadInput where it is none."""
    if "is" not in tree:
        return Candidate
    cls = component(str(tree["is"]))
    if cls.kind != "candidates":
        raise BadInput(f"a candidate was expected, but was given {cls.tag()!r}, a part of one.")
    return cls


def to_tree(value: Any) -> Any:
    """The JSON-able tree of a component (or of a plain value, which is returned as it is)."""
    if not isinstance(value, Component):
        return list(value) if isinstance(value, list) else value
    own = {name: to_tree(value.sym_getattr(name)) for name in sorted(value.fields)}
    return own if isinstance(value, Candidate) else {"is": value.tag(), **own}


def from_tree(tree: Mapping[str, Any], kind: str = "") -> Component:
    """The component of a tree; fields left out take their defaults. kind: "" for a candidate.

    Raises UnknownName for an unknown type or field and BadValue for a value outside its range.
    """
    if not isinstance(tree, Mapping):
        raise BadInput(f"one of the {kind or 'candidates'} is an object in JSON, not {tree!r}.")
    cls = component(str(tree.get("is", ""))) if kind else root_of(tree)
    given = {name: value for name, value in tree.items() if name != "is"}
    for name in given:
        if name not in cls.fields:
            raise UnknownName(f"field of {cls.tag() if kind else 'a candidate'}", name, cls.fields)
    values: dict[str, Any] = {}
    for name, declared in cls.fields.items():
        if isinstance(declared, Part):
            values[name] = from_tree(given.get(name, declared.named), declared.kind)
        elif name in given:
            values[name] = declared.check(given[name], f"{cls.tag()}.{name}")
        else:
            values[name] = declared.default
    try:
        with pg.enable_type_check(False):  # every value was checked just now, and none is missing
            return cls(**values)
    except (ValueError, TypeError) as error:
        where = cls.tag() if kind else "candidate"
        raise BadValue(f"{where}: {' '.join(str(error).split())}") from error
