"""Narrowing: a space in which one knob or part is limited to some values.

The setting `decoder.window=8,16` reaches every `window` inside the part `decoder`; see
`Space.narrow` for what a path may say. `decoder=sjd,gsd` takes named decoders (`spaces.decoders`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import pyglove as pg

from paretoken.spaces.candidate import Candidate
from paretoken.spaces.component import Component, Knob, Part
from paretoken.spaces.decoders import NAMED, named_decoder
from paretoken.spaces.derive import choice, derive
from paretoken.spaces.errors import BadInput, BadValue, UnknownName
from paretoken.spaces.plugins import KINDS

_MOST_INTEGERS = 256  # that `low..high` stands for


def narrowed(root: Component, path: str, values: tuple[Any, ...]) -> Component:
    """The symbolic tree with every knob or part that matches `path` limited to `values`."""
    narrowing = _Narrowing(path, values)
    narrow = narrowing.apply(root, ())
    if not narrowing.matches:
        raise UnknownName("setting of this space", path, _paths(root, path.partition(".")[0]))
    return narrow


def parse_setting(text: str) -> tuple[str, tuple[str, ...]]:
    """The path and values of `--set decoder.window=8,16`."""
    path, equals, values = (part.strip() for part in text.partition("="))
    words = tuple(word.strip() for word in values.split(","))
    if not (path and equals and all(words) and all(path.split("."))):
        raise BadInput(f"a setting is PATH=VALUE or PATH=VALUE,VALUE,…; {text!r} is not.")
    return path, words


class _Narrowing:
    """One pass over a symbolic tree, counting what it changed."""

    def __init__(self, path: str, values: tuple[Any, ...]) -> None:
        *self._around, self._last = path.split(".")
        self._values = values
        self.matches = 0

    def apply(self, node: Component, around: tuple[str, ...]) -> Component:
        """around: names of the parts and plug-ins outside `node`, outermost first."""
        around = (*around, _name(node))
        values = {}
        for field, declared in node.fields.items():
            value = node.sym_getattr(field)
            if field == self._last and _in_order(self._around, around):
                self.matches += 1
                value = self._narrowed(declared, value, f"{_name(node)}.{field}")
            if isinstance(declared, Part):
                options = [self.apply(option, (*around, field)) for option in _options(value)]
                value = options[0] if len(options) == 1 else pg.oneof(options)
            values[field] = value
        same_type: Component = type(node)(**values)
        return same_type

    def _narrowed(self, declared: Knob | Part, value: Any, where: str) -> Any:
        if isinstance(declared, Part):
            found = self._options(declared, value)
            return found[0] if len(found) == 1 else pg.oneof(found)
        legal: list[Any] = []
        for text in self._values:
            low, dots, high = text.partition("..") if isinstance(text, str) else ("", "", "")
            if not dots or declared.among:
                legal.append(_value(declared, text, where))
                continue
            first, last = _value(declared, low, where), _value(declared, high, where)
            if isinstance(declared.default, int) and 0 <= last - first < _MOST_INTEGERS:
                legal.extend(range(first, last + 1))
            elif isinstance(first, float) and first < last and len(self._values) == 1:
                return pg.floatv(first, last, scale="log" if declared.log and first > 0 else None)
            else:
                raise BadValue(
                    f"{where} cannot be {text!r}: a range goes upwards, stands alone if it is of "
                    f"floats, and has at most {_MOST_INTEGERS} integers."
                )
        place = declared.among.index if declared.among else (lambda number: number)
        legal = sorted(dict.fromkeys(legal), key=place)
        if declared.many > len(legal):
            raise BadValue(f"{where} needs {declared.many} values or more; {legal} are fewer.")
        return choice(declared, legal)

    def _options(self, declared: Part, value: Any) -> list[Component]:
        """The plug-ins that were named, then the named decoders, each in a fixed order."""
        names = {str(name).removeprefix(f"{declared.kind}/") for name in self._values}
        named: list[Component] = []
        if declared.kind == "decoders":
            _refuse_unknown_decoders(names)
            named = [named_decoder(name) for name in NAMED if name in names]
            names -= NAMED.keys()
        found = [option for option in _options(value) if _name(option) in names]
        missing = names - set(map(_name, found))
        found += [derive(f"{declared.kind}/{name}") for name in missing]
        return [*sorted(found, key=_name), *named]


def _refuse_unknown_decoders(names: Iterable[str]) -> None:
    """Raise UnknownName, with plug-ins and named decoders alike, for the first that is neither."""
    known = {*KINDS["decoders"].names(), *NAMED}
    for name in names:
        if name not in known:
            raise UnknownName("decoder", name, known)


def _value(knob: Knob, text: Any, where: str) -> Any:
    """The knob's value that a text stands for (a value stands for itself)."""
    if not isinstance(text, str):
        return knob.check_member(text, where)
    readings: list[Any] = [{"true": True, "false": False}.get(text.lower())]
    for number in (int, float):
        try:
            readings.append(number(text))
        except ValueError:
            pass
    for reading in readings:
        try:
            return knob.check_member(reading, where)
        except BadValue:
            pass
    return knob.check_member(text, where)


def _in_order(names: Iterable[str], around: Iterable[str]) -> bool:
    rest = iter(around)
    return all(name in rest for name in names)


def _name(node: Component) -> str:
    return "" if isinstance(node, Candidate) else node.tag().rpartition("/")[2]


def _options(value: Any) -> list[Any]:
    """The components that a part may hold."""
    if isinstance(value, pg.hyper.OneOf):
        return [option for candidate in value.candidates for option in _options(candidate)]
    return [value]


def _nodes(node: Component, way: tuple[str, ...]) -> Iterator[tuple[Component, tuple[str, ...]]]:
    """Every component of a symbolic tree with the names of the parts that lead to it."""
    yield node, way
    for field, declared in node.fields.items():
        if isinstance(declared, Part):
            for option in _options(node.sym_getattr(field)):
                yield from _nodes(option, (*way, field))


def _paths(root: Component, first: str) -> set[str]:
    """Real paths: `plugin.knob` where `first` is a plug-in, the whole dotted ones otherwise."""
    nodes = list(_nodes(root, ()))
    if any(first == _name(node) for node, _ in nodes):
        return {f"{_name(node)}.{field}" for node, _ in nodes for field in node.fields}
    return {".".join((*way, field)) for node, way in nodes for field in node.fields}
