"""Canonical form: inert knobs dropped and equal writings merged, before anything is hashed or run.

Each component knows its own equivalences (`Component.simplified`); this module applies them from
the leaves to the root until nothing changes. Dropped means: set to the default.
"""

from __future__ import annotations

from paretoken.spaces.component import Component

# Every rule moves towards a representative; a component tree is a few levels deep. More passes
# than this mean that two rules undo each other, which is a defect in one of them.
_MOST_PASSES = 16


def canonical(component: Component) -> Component:
    """The representative of everything that behaves like `component` by rule.

    Idempotent. Raises RuntimeError when the rules of two components undo each other.
    """
    for _ in range(_MOST_PASSES):
        simpler = _pass(component)
        if simpler is component or simpler == component:  # the latter looks at everything
            return component
        component = simpler
    raise RuntimeError(f"the canonical form of {component.tag()!r} does not settle: {component!r}")


def _pass(component: Component) -> Component:
    values = {name: component.sym_getattr(name) for name in component.fields}
    rebuilt = {
        name: _pass(value) if isinstance(value, Component) else value
        for name, value in values.items()
    }
    changed = any(rebuilt[name] is not values[name] for name in values)
    same_type: Component = type(component)(**rebuilt) if changed else component
    return same_type.simplified()
