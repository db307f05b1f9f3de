"""Component: a symbolic class whose field types are its legal ranges.

    class Jacobi(Drafter):
        window: int = knob(16, low=1, high=64, grid=(2, 8, 32), doc="Tokens a forward sees.")
        init: str = knob("random", among=("random", "repeat_left"), doc="How a new slot is filled.")

    class Speculative(Decoder):
        drafter: Drafter = part("drafters", default="none", doc="Who proposes tokens.")

A component is a `pg.Object`: typed, comparable by value, and searchable, because any field may
hold a `pg.oneof` instead of a value. A component's tag is `kind/name`, where `name` is its file's.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any, cast

import pyglove as pg

from paretoken.spaces.errors import BadValue


@dataclass(frozen=True)
class Knob:
    """One searchable field: its legal values, and the points a search tries by default.

    low, high: inclusive bounds of an int or float. among: the legal values of a choice.
    grid: the points that `derive` tries; left out, it picks at most ten between the bounds.
    log: whether equal steps are equal ratios. doc: one sentence for `--help` and the report.
    many: 0 for one value; otherwise the value is a list of that many different members of
    `among`, in the order of `among` (the layers that a self-draft skips, say).
    """

    default: Any
    low: float | None
    high: float | None
    among: tuple[Any, ...]
    grid: tuple[Any, ...]
    log: bool
    doc: str
    many: int = 0

    def spec(self) -> Any:
        """The PyGlove value spec that enforces the legal range."""
        if self.many:
            member = pg.typing.Enum(self.among[0], list(self.among))
            return pg.typing.List(member, size=self.many, default=list(self.default))
        if self.among:
            return pg.typing.Enum(self.default, list(self.among))
        if isinstance(self.default, bool):
            return pg.typing.Bool(self.default)
        if isinstance(self.default, int):
            return pg.typing.Int(self.default, min_value=self.low, max_value=self.high)
        # Float(0.0, 1.0) would set a default first: bounds are always named.
        return pg.typing.Float(float(self.default), min_value=self.low, max_value=self.high)

    @property
    def legal(self) -> str:
        """The legal range in words: "an integer from 1 to 64"."""
        if self.among:
            names = ", ".join(map(str, self.among))
            return f"{self.many} of {names}, in this order" if self.many else f"one of {names}"
        if isinstance(self.default, bool):
            return "true or false"
        words = "an integer" if isinstance(self.default, int) else "a number"
        if self.low is not None:
            words += f" from {self.low}"
        return words if self.high is None else f"{words} to {self.high}"

    def check(self, value: Any, where: str) -> Any:
        """The value as it is stored (a float knob keeps 1 as 1.0); raises BadValue if not legal.

        Stricter than PyGlove, which takes True for an int and NaN for any float.
        where: the knob's name in the message.
        """
        kept = self._kept(value)
        if kept is None:
            raise BadValue(f"{where} is {self.legal}; it cannot be {value!r}.")
        return kept

    def check_member(self, value: Any, where: str) -> Any:
        """One of those that a `many` knob's lists are made of; of any other knob, its value."""
        return (replace(self, many=0) if self.many else self).check(value, where)

    def _kept(self, value: Any) -> Any:
        if self.many:
            members = [_member(v, self.among) for v in value] if isinstance(value, list) else [None]
            places = [self.among.index(m) for m in members if m is not None]
            legal = places == sorted(set(places)) and len(places) == len(members) == self.many
            return members if legal else None
        if self.among:
            return _member(value, self.among)
        if isinstance(self.default, bool):
            return value if isinstance(value, bool) else None
        whole = isinstance(self.default, int)
        if isinstance(value, bool) or not isinstance(value, int if whole else int | float):
            return None
        low = -math.inf if self.low is None else self.low
        high = math.inf if self.high is None else self.high
        if not (low <= value <= high and math.isfinite(value)):
            return None
        return value if whole else float(value)


def _member(value: Any, among: tuple[Any, ...]) -> Any:
    """The one of `among` that equals value, None without; True is not 1."""
    for one in among:
        if one == value and isinstance(one, bool) == isinstance(value, bool):
            return one
    return None


@dataclass(frozen=True)
class Part:
    """A field that holds another component of `kind`; `default` names the one taken if unset."""

    kind: str
    default: str
    doc: str

    @property
    def named(self) -> dict[str, str]:
        """The tree of the default, its own fields left out."""
        return {"is": f"{self.kind}/{self.default}"}


def knob(
    default: Any,
    *,
    low: float | None = None,
    high: float | None = None,
    among: tuple[Any, ...] = (),
    grid: tuple[Any, ...] = (),
    log: bool = False,
    many: int = 0,
    doc: str,
) -> Any:
    """Declare a searchable field of a component; see `Knob`."""
    return Knob(default, low, high, among, grid, log, doc, many)


def part(kind: str, *, default: str, doc: str) -> Any:
    """Declare a field that holds a component of another kind; see `Part`."""
    return Part(kind, default, doc)


class Component(pg.Object):  # type: ignore[misc]  # PyGlove ships no types
    """Base of everything a search can vary. Subclasses declare fields with `knob` and `part`."""

    # PyGlove would read annotations here as fields of every component.
    kind = ""
    # What kind of model it is for: "image" or "text"; "" fits any.
    modality = ""
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
            if isinstance(declared, Part):
                if isinstance(value, Component) and value.kind != declared.kind:
                    raise BadValue(
                        f"{self.tag()}.{name} holds one of the {declared.kind}, "
                        f"but was given {value.tag()!r}."
                    )
            elif isinstance(value, bool | int | float | str | list):  # chosen, not yet to choose
                declared.check(value, f"{self.tag()}.{name}")

    @classmethod
    def tag(cls) -> str:
        """`kind/name`: what JSON stores, and what `plugins` resolves back to this class."""
        return f"{cls.kind}/{cls.__module__.rpartition('.')[2]}"

    def simplified(self) -> Component:
        """The simplest component that does the same; `spaces.canonical` applies it to a fixpoint.

        Override with the equivalences this component knows. Parts are simplified already.
        """
        return self
