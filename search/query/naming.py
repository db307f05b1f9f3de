"""The names in a condition: which quantity or setting each is, and whether they compare."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Sequence

from paretoken.cache.condition import (
    Compare,
    Condition,
    Every,
    Missing,
    Not,
    Number,
    Operand,
    Setting,
    Some,
    Value,
)
from paretoken.cache.settings_json import FLAG, NULL, NUMBER, TEXT, KnownSettings
from paretoken.search.query.grammar import Comparison, Group, Name, Node
from paretoken.search.query.tokens import Source

_SHOWN = 20  # settings that an error names
_CALLED = {NUMBER: "a number", TEXT: "text", FLAG: "true or false"}


class Names:
    """What a study knows. settings: asked only if a name is no quantity, for that takes longer."""

    def __init__(self, numbers: Sequence[str], settings: Callable[[], KnownSettings]) -> None:
        self.numbers = numbers
        self._read, self._settings = settings, KnownSettings()
        self._asked = False

    @property
    def settings(self) -> KnownSettings:
        """Paths of settings, with the kinds of their values."""
        if not self._asked:
            self._settings, self._asked = self._read(), True
        return self._settings

    def quantity(self, source: Source, name: Name) -> Number:
        """The quantity of that name; raises BadInput where it is none."""
        if name.text in self.numbers:
            return Number(name.text)
        close = difflib.get_close_matches(name.text, self.numbers, n=1)
        hint = f" Did you mean {close[0]!r}?" if close else ""
        listing = ", ".join(self.numbers) or "nothing measured yet"
        source.fail(
            name.column, f"no quantity is called {name.text!r}.{hint} Quantities: {listing}"
        )

    def find(self, source: Source, name: Name) -> Number | Setting:
        """The quantity of that name, or the setting of that path or unambiguous ending."""
        if name.text in self.numbers:
            return Number(name.text)
        paths = self.settings.kinds
        if name.text in paths:
            return Setting(tuple(name.text.split(".")))
        endings = sorted(path for path in paths if path.endswith(f".{name.text}"))
        if len(endings) == 1:
            return Setting(tuple(endings[0].split(".")))
        if endings:
            choice = " or ".join(endings[:4]) + (" …" if endings[4:] else "")
            source.fail(name.column, f"{name.text!r} could be {choice}: write one in full")
        if name.text in self.settings.texts:
            source.fail(name.column, f"text needs quotes: {name.text!r}")
        short = [*self.numbers, *sorted(paths), *(path.rpartition(".")[2] for path in paths)]
        close = difflib.get_close_matches(name.text, short, n=1)
        hint = f" Did you mean {close[0]!r}?" if close else ""
        listing = ", ".join(self.numbers) or "nothing measured yet"
        source.fail(
            name.column,
            f"no quantity or setting is called {name.text!r}.{hint} Quantities: {listing}. "
            f"Settings: {_some(paths)}",
        )


def _some(paths: Iterable[str]) -> str:
    """Settings by the last part of their paths, as many as a line takes."""
    last = sorted({path.rpartition(".")[2] for path in paths})
    return ", ".join(last[:_SHOWN]) + (", …" if len(last) > _SHOWN else "") or "none"


def bind(source: Source, root: Node, names: Names) -> Condition:
    """The condition with every name looked up; raises BadInput, with the column."""

    def visit(node: Node) -> Condition:
        if isinstance(node, Group):
            parts = tuple(map(visit, node.parts))
            if node.word == "not":
                return Not(parts[0])
            return Every(parts) if node.word == "and" else Some(parts)
        left, right = (_side(source, side, names) for side in (node.left, node.right))
        if node.sign not in ("==", "!="):
            _check_order(source, node, [_kinds(side, names) for side in (left, right)])
        return Compare(left, node.sign, right)

    return visit(root)


def _side(source: Source, side: Name | Value, names: Names) -> Operand:
    return names.find(source, side) if isinstance(side, Name) else side


def _kinds(side: Operand, names: Names) -> set[str]:
    """What the side can be, apart from null."""
    match side:
        case Number():
            return {NUMBER}
        case Setting():
            return names.settings.kinds[str(side)] - {NULL}
        case bool():
            return {FLAG}
        case str():
            return {TEXT}
        case None | Missing():
            return set()
    return {NUMBER}


def _check_order(source: Source, node: Comparison, kinds: Sequence[set[str]]) -> None:
    left, right = kinds
    if left and right and not left & right & {NUMBER, TEXT}:
        one, other = (" or ".join(_CALLED[kind] for kind in sorted(found)) for found in kinds)
        source.fail(node.column, f"cannot order {one} against {other}")
