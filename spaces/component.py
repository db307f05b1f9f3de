"""Component: a symbolic class whose field types are its legal ranges.

    class Jacobi(Drafter):
        window: int = knob(16, low=1, high=64, grid=(1, 2, 4, 8, 16, 32, 64), doc="Tokens a forward sees.")
        init: str = knob("random", among=("random", "repeat_left"), doc="How a new slot is filled.")

    class Speculative(Decoder):
        drafter: Drafter = part("drafters", default="none", doc="Who proposes tokens.")

A component is a `pg.Object`: typed, comparable by value, and searchable, because any field may
hold a `pg.oneof` instead of a value. A component's tag is `kind/name`, where `name` is its file's.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, cast

import pyglove as pg

from paretoken.spaces.errors import BadValue


@dataclass(frozen=True)
class Knob:
    """One searchable field: its legal values, and the points a search tries by default.

    low, high: inclusive bounds of an int or float. among: the legal values of a choice.
    grid: the points that `derive` tries; left out, it picks at most ten between the bounds.
    log: whether equal steps are equal ratios. doc: one sentence for `--help` and the report.
    """

    default: Any
    low: float | None
    high: float | None
    among: tuple[Any, ...]
    grid: tuple[Any, ...]
    log: bool
    doc: str

    def spec(self) -> Any:
        """The PyGlove value spec that enforces the legal range."""
        if self.among:
            return pg.typing.Enum(self.default, list(self.among))
        if isinstance(self.default, bool):
            return pg.typing.Bool(self.default)
        if isinstance(self.default, int):
            return pg.typing.Int(self.default, min_value=self.low, max_value=self.high)
        # Float(0.0, 1.0) would set a default first: bounds are always named.
        return pg.typing.Float(float(self.default), min_value=self.low, max_value=self.high)


@dataclass(frozen=True)
class Part:
    """A field that holds another component of `kind`; `default` names the one taken if unset."""

    kind: str
    default: str
    doc: str


def knob(
    default: Any,
    *,
    low: float | None = None,
    high: float | None = None,
    among: tuple[Any, ...] = (),
    grid: tuple[Any, ...] = (),
    log: bool = False,
    doc: str,
) -> Any:
    """Declare a searchable field of a component; see `Knob`."""
    return Knob(default, low, high, among, grid, log, doc)


def part(kind: str, *, default: str, doc: str) -> Any:
    """Declare a field that holds a component of another kind; see `Part`."""
    return Part(kind, default, doc)


class Component(pg.Object):  # type: ignore[misc]  # PyGlove ships no types
    """Base of everything a search can vary. Subclasses declare fields with `knob` and `part`."""

    # PyGlove would read annotations here as fields of every component.
    kind = ""
    fields = cast("dict[str, Knob | Part]", {})

    def __init_subclass__(cls, **kwargs: Any) -> None:
        own = {k: v for k, v in vars(cls).items() if isinstance(v, Knob | Part)}
        for name in own:  # PyGlove must not read our declarations as its own fields
            delattr(cls, name)
            cls.__annotations__.pop(name, None)
        super().__init_subclass__(**kwargs)
        if own:
            cls.fields = {**cls.fields, **own}
            cls.update_schema([cls._field(name, declared) for name, declared in own.items()])

    @staticmethod
    def _field(name: str, declared: Knob | Part) -> Any:
        spec = declared.spec() if isinstance(declared, Knob) else pg.typing.Object(Component)
        return (name, spec, declared.doc)

    def _on_bound(self) -> None:
        super()._on_bound()
        for name, declared in self.fields.items():
            value = self.sym_getattr(name)
            if isinstance(declared, Part) and isinstance(value, Component):
                if value.kind != declared.kind:
                    raise BadValue(
                        f"{self.tag()}.{name} holds one of the {declared.kind}, "
                        f"but was given {value.tag()!r}."
                    )

    @classmethod
    def tag(cls) -> str:
        """`kind/name`: what JSON stores, and what `plugins` resolves back to this class."""
        return f"{cls.kind}/{cls.__module__.rpartition('.')[2]}"

    def simplified(self) -> Component:
        """The simplest component that does the same; `spaces.canonical` applies it to a fixpoint.

        Override with the equivalences this component knows. Parts are simplified already.
        """
        return self
