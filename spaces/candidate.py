"""A candidate: a component tree with every value chosen, and its JSON in both directions.

    {"schema": 1, "candidate": {"decoder": {"is": "decoders/speculative", "drafter": {…}, …},
                                "sampling": {"is": "samplings/standard", …},
                                "runtime": {"is": "runtimes/local", …}}}

Reading goes through the plug-ins as a whitelist of types; nothing is ever unpickled.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from paretoken.spaces.component import Component, Part, part
from paretoken.spaces.errors import BadInput, BadValue, UnknownName
from paretoken.spaces.plugins import component

SCHEMA = 1

Tree = dict[str, Any]


class Candidate(Component):
    """How one model is decoded: decoder, sampling law and runtime."""

    decoder: Component = part("decoders", default="speculative", doc="The decoding loop.")
    sampling: Component = part("samplings", default="standard", doc="The target sampling law.")
    runtime: Component = part("runtimes", default="local", doc="Precision, batch and capture.")


def to_tree(value: Any) -> Any:
    """The JSON-able tree of a component (or of a plain value, which is returned as it is)."""
    if not isinstance(value, Component):
        return value
    own = {name: to_tree(value.sym_getattr(name)) for name in sorted(value.fields)}
    return own if isinstance(value, Candidate) else {"is": value.tag(), **own}


def from_tree(tree: Mapping[str, Any], kind: str = "") -> Component:
    """The component of a tree; fields left out take their defaults. kind: "" for a candidate.

    Raises UnknownName for an unknown type or field and BadValue for a value outside its range.
    """
    cls: type[Component] = component(str(tree.get("is", ""))) if kind else Candidate
    given = {name: value for name, value in tree.items() if name != "is"}
    for name in given:
        if name not in cls.fields:
            raise UnknownName(f"field of {cls.tag() if kind else 'a candidate'}", name, cls.fields)
    values: dict[str, Any] = {}
    for name, declared in cls.fields.items():
        if isinstance(declared, Part):
            chosen = given.get(name, {"is": f"{declared.kind}/{declared.default}"})
            values[name] = from_tree(chosen, declared.kind)
        elif name in given:
            values[name] = given[name]
    try:
        return cls(**values)
    except (ValueError, TypeError) as error:
        where = cls.tag() if kind else "candidate"
        raise BadValue(f"{where}: {' '.join(str(error).split())}") from error


def dumps(tree: Tree) -> str:
    """Stable JSON of a candidate's tree: sorted keys, no spaces, shortest floats."""
    document = {"schema": SCHEMA, "candidate": tree}
    return json.dumps(document, sort_keys=True, separators=(",", ":"), allow_nan=False)


def loads(text: str) -> Tree:
    """The tree in a candidate's JSON; raises BadInput for another schema or broken text."""
    try:
        document = json.loads(text)
    except ValueError as error:
        raise BadInput(f"settings are not JSON: {error}.") from error
    if not isinstance(document, dict) or document.get("schema") != SCHEMA:
        found = document.get("schema") if isinstance(document, dict) else type(document).__name__
        raise BadInput(
            f"settings have schema {found!r}, but this version reads schema {SCHEMA}: "
            "export them again."
        )
    tree: Tree = document.get("candidate", {})
    return tree


def summary(tree: Mapping[str, Any]) -> str:
    """One short line for a person: the named parts with their values, plumbing left out."""
    parts: list[str] = []

    def visit(node: Mapping[str, Any]) -> None:
        name = str(node.get("is", "")).rpartition("/")[2]
        knobs = [f"{k}={v}" for k, v in node.items() if k != "is" and not isinstance(v, Mapping)]
        if name and (knobs or str(node["is"]).startswith(("drafters/", "verifiers/"))):
            parts.append(f"{name}({', '.join(knobs)})" if knobs else name)
        for key in ("drafter", "verifier", "residual", "length"):
            if isinstance(node.get(key), Mapping):
                visit(node[key])
                if key == "residual":
                    parts.append(str(node[key]["is"]).rpartition("/")[2] + " residual")

    visit(tree.get("decoder", {}))
    if isinstance(tree.get("sampling"), Mapping):
        visit(tree["sampling"])
    return " · ".join(parts)
