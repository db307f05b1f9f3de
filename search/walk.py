"""Walk: a space's JSON as nodes that build, draw, match and count without PyGlove.

A node reads its numbers from an iterator and yields the numbers it decides, in PyGlove's order.
`search.decisions` is the way in.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from random import Random
from typing import Any

from paretoken.search.point import Choose, Point
from paretoken.spaces.errors import BadValue


class Node:
    """A value without decisions; the others override what they need to."""

    count: float = 1
    width = 1  # candidates that it takes to meet every component
    conditional = False

    def __init__(self, value: Any) -> None:
        self._value = value

    def points(self) -> Iterator[Point]:
        yield from ()

    def build(self, rest: Iterator[float]) -> Any:
        return list(self._value) if isinstance(self._value, list) else self._value

    def match(self, value: Any) -> list[float] | None:
        return [] if _same(self._value, value) else None

    def draw(self, rng: Random) -> Iterator[float]:
        yield from ()

    def decide(self, choose: Choose) -> Iterator[float]:
        yield from ()

    def choices(self, rest: Iterator[float]) -> Iterator[tuple[str, float]]:
        yield from ()

    def nth(self, index: int) -> Iterator[float]:
        yield from ()


class _Fields(Node):
    """A component: its fields in order."""

    def __init__(self, tag: str | None, fields: dict[str, Node]) -> None:
        self._tag, self._fields = tag, fields
        self._nodes = tuple(fields.values())
        self.count = math.prod(node.count for node in self._nodes)
        self.width = max((node.width for node in self._nodes), default=1)
        self.conditional = any(node.conditional for node in self._nodes)

    def points(self) -> Iterator[Point]:
        for node in self._nodes:
            yield from node.points()

    def build(self, rest: Iterator[float]) -> Any:
        tree: dict[str, Any] = {} if self._tag is None else {"is": self._tag}
        for name, node in self._fields.items():
            tree[name] = node.build(rest)
        return tree

    def match(self, value: Any) -> list[float] | None:
        named = {} if self._tag is None else {"is": self._tag}
        if not isinstance(value, dict) or value.keys() != self._fields.keys() | named.keys():
            return None
        if value.get("is") != self._tag:
            return None
        numbers: list[float] = []
        for name, node in self._fields.items():
            found = node.match(value[name])
            if found is None:
                return None
            numbers += found
        return numbers

    def draw(self, rng: Random) -> Iterator[float]:
        for node in self._nodes:
            yield from node.draw(rng)

    def decide(self, choose: Choose) -> Iterator[float]:
        for node in self._nodes:
            yield from node.decide(choose)

    def choices(self, rest: Iterator[float]) -> Iterator[tuple[str, float]]:
        for node in self._nodes:
            yield from node.choices(rest)

    def nth(self, index: int) -> Iterator[float]:
        below = int(self.count)
        for node in self._nodes:
            below //= int(node.count)
            place, index = divmod(index, below)
            yield from node.nth(place)


class _Choice(Node):
    """One of several nodes."""

    def __init__(self, name: str, options: list[Node], literals: list[Any]) -> None:
        widths = tuple(option.width for option in options)
        self._point = Point(name, len(options), ordered=_increasing(literals), widths=widths)
        self._options = options
        if any(isinstance(option, _Fields) for option in options):
            self.width = sum(widths)
        self.count = sum(option.count for option in options)
        self.conditional = any(True for option in options for _ in option.points())

    def points(self) -> Iterator[Point]:
        yield self._point
        for option in self._options:
            yield from option.points()

    def build(self, rest: Iterator[float]) -> Any:
        return self._options[self._point.index(next(rest))].build(rest)

    def match(self, value: Any) -> list[float] | None:
        for index, option in enumerate(self._options):
            found = option.match(value)
            if found is not None:
                return [index, *found]
        return None

    def draw(self, rng: Random) -> Iterator[float]:
        index = rng.randrange(self._point.size)
        yield index
        yield from self._options[index].draw(rng)

    def decide(self, choose: Choose) -> Iterator[float]:
        index = self._point.index(choose(self._point))
        yield index
        yield from self._options[index].decide(choose)

    def choices(self, rest: Iterator[float]) -> Iterator[tuple[str, float]]:
        index = self._point.index(next(rest))
        yield self._point.name, index
        yield from self._options[index].choices(rest)

    def nth(self, index: int) -> Iterator[float]:
        for place, option in enumerate(self._options):
            if index < option.count:
                yield place
                yield from option.nth(index)
                return
            index -= int(option.count)


class _Many(Node):
    """A sorted list of `count` different values."""

    def __init__(self, name: str, slots: int, among: list[Any]) -> None:
        self._among, self._slots = among, slots
        ordered = _increasing(among)
        self._points = [Point(f"{name}[{i}]", len(among), ordered=ordered) for i in range(slots)]
        self.count = math.comb(len(among), slots)

    def points(self) -> Iterator[Point]:
        yield from self._points

    def build(self, rest: Iterator[float]) -> Any:
        indices = [point.index(next(rest)) for point in self._points]
        if any(a >= b for a, b in itertools.pairwise(indices)):
            raise BadValue(f"{self._points[0].name}: {indices} are not increasing.")
        return [self._among[index] for index in indices]

    def match(self, value: Any) -> list[float] | None:
        if not isinstance(value, list) or len(value) != self._slots:
            return None
        indices = [i for i, one in enumerate(self._among) if any(_same(one, v) for v in value)]
        return list(indices) if [self._among[i] for i in indices] == value else None

    def draw(self, rng: Random) -> Iterator[float]:
        yield from sorted(rng.sample(range(len(self._among)), self._slots))

    def _legal(self, slot: int, before: int) -> range:
        """Indices that leave enough for the slots to come; before: the last one taken, or -1."""
        return range(before + 1, len(self._among) - (self._slots - slot) + 1)

    def decide(self, choose: Choose) -> Iterator[float]:
        last = -1
        for slot, point in enumerate(self._points):
            legal = self._legal(slot, last)
            last = legal[point.index(choose(point)) % len(legal)]
            yield last

    def choices(self, rest: Iterator[float]) -> Iterator[tuple[str, float]]:
        last = -1
        for slot, point in enumerate(self._points):
            index = point.index(next(rest))
            yield point.name, index - self._legal(slot, last).start
            last = index

    def nth(self, index: int) -> Iterator[float]:
        last = -1
        for slot in range(self._slots):
            for taken in self._legal(slot, last):
                below = math.comb(len(self._among) - taken - 1, self._slots - slot - 1)
                if index < below:
                    last = taken
                    break
                index -= below
            yield last


class _Float(Node):
    """A continuous number."""

    count = math.inf

    def __init__(self, name: str, low: float, high: float, log: bool) -> None:
        self._point = Point(name, low=low, high=high, log=log)

    def points(self) -> Iterator[Point]:
        yield self._point

    def build(self, rest: Iterator[float]) -> Any:
        return self._point.real(next(rest))

    def match(self, value: Any) -> list[float] | None:
        return [value] if self._point.has(value) else None

    def draw(self, rng: Random) -> Iterator[float]:
        yield self._point.draw(rng)

    def decide(self, choose: Choose) -> Iterator[float]:
        yield self._point.real(choose(self._point))

    def choices(self, rest: Iterator[float]) -> Iterator[tuple[str, float]]:
        yield self._point.name, self._point.real(next(rest))


def compiled(node: Any, name: str) -> Node:
    """name: PyGlove's id of the node, with ":" for "/"."""
    match node:
        case {"oneof": options}:
            size = len(options)
            nodes = [compiled(one, f"{name}[={i}:{size}]") for i, one in enumerate(options)]
            return _Choice(name, nodes, options)
        case {"manyof": {"count": 1, "among": among}}:
            return _Choice(name, [Node([one]) for one in among], among)
        case {"manyof": {"count": count, "among": among}}:
            return _Many(name, count, among)
        case {"float": {"low": low, "high": high, "log": log}}:
            return _Float(name, low, high, log)
        case dict():
            fields = {
                field: compiled(child, f"{name}.{field}" if name else field)
                for field, child in node.items()
                if field != "is"
            }
            return _Fields(node.get("is"), fields)
    return Node(node)


def _same(one: Any, other: Any) -> bool:
    return bool(one == other) and isinstance(one, bool) == isinstance(other, bool)


def _increasing(values: list[Any]) -> bool:
    numbers = [v for v in values if isinstance(v, int | float) and not isinstance(v, bool)]
    return len(numbers) == len(values) and numbers == sorted(set(numbers))
