"""Canonical form: inert knobs dropped and equal writings merged, before anything is hashed or run.

Each component knows its own equivalences (`Component.simplified`); this module applies them from
the leaves to the root until nothing changes. Dropped means: set to the default.
"""

from __future__ import annotations

import json
from functools import lru_cache
from typing import cast

import pyglove as pg

from paretoken.spaces.candidate import Candidate, from_tree, to_tree
from paretoken.spaces.component import Component, Part
from paretoken.spaces.settings import Tree

# Every rule moves towards a representative; a component tree is a few levels deep. More passes
# than this mean that two rules undo each other, which is a defect in one of them.
_MOST_PASSES = 16


def canonical(component: Component) -> Component:
    """The representative of everything that behaves like `component` by rule.

    Idempotent. Raises RuntimeError when the rules of two components undo each other.
    """
    with pg.enable_type_check(False):  # what stands was checked, and components check what is new
        for _ in range(_MOST_PASSES):
            simpler = _pass(component)
            if simpler is component or simpler == component:  # the latter looks at everything
                return component
            component = simpler
    raise RuntimeError(f"the canonical form of {component.tag()!r} does not settle: {component!r}")


def canonical_tree(tree: Tree) -> Tree:
    """The tree of the canonical form of a candidate's tree, parts left out included.

    Its parts do not know each other, so that each is simplified by itself, and remembered: building
    components takes longer than all else that a search does to propose one.
    """
    parts = {name: part for name, part in Candidate.fields.items() if isinstance(part, Part)}
    if set(tree) - set(parts):  # another root, or something that is wrong
        return cast("Tree", to_tree(canonical(from_tree(tree))))
    return {
        name: json.loads(
            _canonical_part(part.kind, json.dumps(tree.get(name, part.named), sort_keys=True))
        )
        for name, part in sorted(parts.items())
    }


@lru_cache(1 << 14)
def _canonical_part(kind: str, text: str) -> str:
    return json.dumps(to_tree(canonical(from_tree(json.loads(text), kind))))


def _pass(component: Component) -> Component:
    values = {name: component.sym_getattr(name) for name in component.fields}
    rebuilt = {
        name: _pass(value) if isinstance(value, Component) else value
        for name, value in values.items()
    }
    changed = any(rebuilt[name] is not values[name] for name in values)
    same_type = type(component)(**rebuilt) if changed else component
    return same_type.simplified()
