"""`--where`: a small, safe language that picks trials by what was measured and how they were set.

    fid <= 60 and speedup >= 2            quantities by name
    2 <= speedup < 3 or not kid > 0.02    chained comparisons, and / or / not, parentheses
    verifier == "grouped" and window > 8  settings, by full path or by any unambiguous ending
    decoder.drafter.window == 16          the same, in full

    where   = and_ { "or" and_ }                  sum   of conditions
    and_    = not_ { "and" not_ }
    not_    = "not" not_ | "(" where ")" | compare
    compare = operand ( op operand )+             op is one of < <= > >= == !=
    operand = number | "text" | true | false | null | name

What a trial does not have is unknown, as in SQL: a comparison with it is neither true nor false,
and a trial matches only where the whole condition is true. Nothing is ever handed to `eval`.
"""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NoReturn

from paretoken.cache.bounds import OPERATORS, Bound
from paretoken.spaces.errors import BadInput, ParetokenError
from paretoken.spaces.records import Trial

Value = float | str | bool | None
Row = Mapping[str, Value]

_DEEPEST = 50  # levels of parentheses and `not`: far beyond need, far below Python's own limit
_SHOWN = 34  # characters shown on either side of an error

_OTHER_WRITINGS = {"≤": "<=", "≥": ">=", "≠": "!="}
_HABITS = {"=": "==", "&&": "and", "&": "and", "||": "or", "|": "or", "!": "not", "<>": "!="}
_WORDS: dict[str, Value] = {"true": True, "false": False, "null": None, "none": None}
_TOKEN = re.compile(
    r"""\s*(?:
      (?P<number> [+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?(?![\w.]) )
    | (?P<name>   [^\W\d]\w*(?:\.\w+)* )
    | (?P<text>   "[^"]*" | '[^']*' )
    | (?P<op>     <=|>=|==|!=|<>|&&|\|\||[<>=!&|()≤≥≠] )
    )""",
    re.VERBOSE,
)


class NothingMatches(ParetokenError, LookupError):
    """The condition is well formed, but no finished trial meets it."""


@dataclass(frozen=True)
class _Token:
    kind: str  # "number", "name", "text", "op" or "end"
    text: str
    column: int


@dataclass(frozen=True)
class _Name:
    text: str
    column: int


@dataclass(frozen=True)
class _Compare:
    left: _Name | Value
    op: str
    right: _Name | Value
    column: int


@dataclass(frozen=True)
class _Group:
    """word: "and", "or" or "not"; "not" has one part."""

    word: str
    parts: tuple[_Node, ...]


_Node = _Compare | _Group


@dataclass(frozen=True)
class Query:
    """A parsed condition. `bind` it to the rows at hand before asking `matches`."""

    text: str
    root: _Node

    def bind(self, rows: Sequence[Row]) -> Query:
        """The same condition with every name in full; raises BadInput for an unknown name."""
        known = sorted({name for row in rows for name in row})
        texts = {value for row in rows for value in row.values() if isinstance(value, str)}

        def resolve(name: _Name) -> _Name:
            if name.text in known:
                return name
            endings = [path for path in known if path.endswith(f".{name.text}")]
            if len(endings) == 1:
                return replace(name, text=endings[0])
            if endings:
                choice = " or ".join(endings[:4]) + (" …" if endings[4:] else "")
                _fail(self.text, name.column, f"{name.text!r} could be {choice}: write one in full")
            if name.text in texts:
                _fail(self.text, name.column, f"text needs quotes: {name.text!r}")
            short = known + [path.rpartition(".")[2] for path in known]
            close = difflib.get_close_matches(name.text, short, n=1)
            hint = f" Did you mean {close[0]!r}?" if close else ""
            listing = ", ".join(path for path in known if "." not in path) or "nothing measured yet"
            message = f"no quantity or setting is called {name.text!r}.{hint} Quantities: {listing}"
            _fail(self.text, name.column, message)

        def visit(node: _Node) -> _Node:
            if isinstance(node, _Group):
                return replace(node, parts=tuple(visit(part) for part in node.parts))
            sides = (resolve(s) if isinstance(s, _Name) else s for s in (node.left, node.right))
            left, right = sides
            return replace(node, left=left, right=right)

        return replace(self, root=visit(self.root))

    def bounds(self) -> list[Bound] | None:
        """The condition as bounds on single numbers that must all hold; None if it is no such."""
        parts = self.root.parts if isinstance(self.root, _Group) else (self.root,)
        if isinstance(self.root, _Group) and self.root.word != "and":
            return None
        found = []
        for part in parts:
            if not isinstance(part, _Compare) or not isinstance(part.left, _Name):
                return None
            if isinstance(part.right, bool) or not isinstance(part.right, int | float):
                return None
            found.append(Bound(part.left.text, part.op, float(part.right)))
        return found

    def matches(self, row: Row) -> bool:
        """Whether the condition is true, not merely unknown, for the row."""
        return self._truth(self.root, row) is True

    def shortfall(self, row: Row) -> tuple[float, list[str]]:
        """How far the row is from matching, and what it misses, in words.

        The distance is the sum of relative gaps over what `and` joins and the least over `or`;
        0 where the row matches and infinite where something needed was never measured.
        """
        return self._shortfall(self.root, row, wanted=True)

    def _truth(self, node: _Node, row: Row) -> bool | None:
        if isinstance(node, _Compare):
            return self._compare(node, row)
        truths = [self._truth(part, row) for part in node.parts]
        if node.word == "not":
            return None if truths[0] is None else not truths[0]
        decisive = node.word == "or"  # one true decides `or`, one false decides `and`
        if decisive in truths:
            return decisive
        return None if None in truths else not decisive

    def _compare(self, node: _Compare, row: Row) -> bool | None:
        for side in (node.left, node.right):
            if isinstance(side, _Name) and side.text not in row:
                return None
        left, right = _value(node.left, row), _value(node.right, row)
        if node.op in ("==", "!="):
            return _same(left, right) == (node.op == "==")
        if left is None or right is None:
            return None
        if isinstance(left, str) != isinstance(right, str):
            kinds = ("text" if isinstance(side, str) else "a number" for side in (left, right))
            _fail(self.text, node.column, "cannot order {} against {}".format(*kinds))
        return bool(OPERATORS[node.op](left, right))

    def _shortfall(self, node: _Node, row: Row, wanted: bool) -> tuple[float, list[str]]:
        if isinstance(node, _Group):
            if node.word == "not":
                return self._shortfall(node.parts[0], row, not wanted)
            gaps = [self._shortfall(part, row, wanted) for part in node.parts]
            if (node.word == "and") == wanted:
                return sum(gap for gap, _ in gaps), [text for _, texts in gaps for text in texts]
            return min(gaps, key=lambda gap: gap[0])
        truth = self._compare(node, row)
        if truth is wanted:
            return 0.0, []
        name, other = _sides(node, row)
        if truth is None:
            return math.inf, [f"{name} is not known"]
        left, right = _value(node.left, row), _value(node.right, row)
        gap = 1.0
        if isinstance(left, int | float) and isinstance(right, int | float):
            gap = abs(left - right) / (abs(left) + abs(right) or 1.0)
        negation = "" if wanted else "not "
        return gap, [f"{name} (wanted {negation}{node.op} {other})"]


def _value(side: _Name | Value, row: Row) -> Value:
    return row[side.text] if isinstance(side, _Name) else side


def _same(left: Value, right: Value) -> bool:
    if isinstance(left, str) and isinstance(right, str):  # "verifiers/grouped" is "grouped"
        short = left.rpartition("/")[2] == right.rpartition("/")[2]
        return left == right or (short and ("/" in left) != ("/" in right))
    return left == right


def _sides(node: _Compare, row: Row) -> tuple[str, str]:
    """Both sides in words, a name on the left with its value: ("fid = 63.1", "60")."""

    def plain(value: Value) -> str:
        return f"{value:.4g}" if isinstance(value, float) else str(value)

    def say(side: _Name | Value) -> str:
        if not isinstance(side, _Name):
            return plain(side)
        return f"{side.text} = {plain(row[side.text])}" if side.text in row else side.text

    return say(node.left), say(node.right)


def parse(text: str) -> Query:
    """The condition in `text`; raises BadInput, with the column, for anything else."""
    return Query(text, _Parser(text).whole())


def row(trial: Trial) -> dict[str, Value]:
    """What a condition may name about a trial: quantities, and settings by full path."""
    values: dict[str, Value] = {}

    def visit(node: Mapping[str, Any], path: str) -> None:
        for key, value in node.items():
            where = f"{path}.{key}" if path else key
            if isinstance(value, Mapping):
                if "is" in value:
                    values[where] = str(value["is"]).rpartition("/")[2]
                visit(value, where)
            elif value is None or isinstance(value, int | float | str):
                values[where] = value
            else:
                values[where] = str(value)

    visit(trial.tree, "")
    values.update({name: quantity.value for name, quantity in trial.quantities.items()})
    return values


def select(text: str, trials: Iterable[Trial]) -> list[Trial]:
    """The finished trials for which the condition is true, in their order; all for an empty one.

    Raises NothingMatches, telling how near the nearest trial came.
    """
    done = [trial for trial in trials if trial.state == "done"]
    if not done:
        raise NothingMatches("nothing to choose from: the study has no finished trial yet.")
    if not text.strip():
        return done
    rows = [row(trial) for trial in done]
    query = parse(text).bind(rows)
    found = [trial for trial, values in zip(done, rows, strict=True) if query.matches(values)]
    if found:
        return found
    gaps = [query.shortfall(values) for values in rows]
    nearest = min(range(len(done)), key=lambda i: gaps[i][0])
    raise NothingMatches(
        f"none of the {len(done)} finished trials meets {text!r}; the nearest is number "
        f"{done[nearest].number}: {', '.join(gaps[nearest][1])}."
    )


class _Parser:
    """Recursive descent over the tokens; one method per rule of the grammar above."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.tokens = _tokens(text)
        self.at = 0
        self.depth = 0

    @property
    def next(self) -> _Token:
        return self.tokens[self.at]

    def take(self) -> _Token:
        token = self.next
        self.at += token.kind != "end"
        return token

    def word(self, *words: str) -> bool:
        return self.next.kind in ("name", "op") and self.next.text in words

    def fail(self, message: str) -> NoReturn:
        _fail(self.text, self.next.column, message)

    def refuse_habit(self) -> None:
        """Point out an operator from another language; does nothing at any other token."""
        if self.next.kind == "op" and self.next.text in _HABITS:
            self.fail(f"write {_HABITS[self.next.text]!r} instead of {self.next.text!r}")

    def found(self) -> str:
        return "the end" if self.next.kind == "end" else repr(_printable(self.next.text)[:40])

    def whole(self) -> _Node:
        if self.next.kind == "end":
            self.fail("the condition is empty; write for instance fid <= 60 and speedup >= 2")
        node = self.either()
        if self.next.kind != "end":
            self.refuse_habit()
            self.fail(f"expected 'and', 'or' or the end, found {self.found()}")
        return node

    def either(self) -> _Node:
        return self.joined("or", lambda: self.joined("and", self.negated))

    def joined(self, word: str, part: Callable[[], _Node]) -> _Node:
        parts = [part()]
        while self.word(word):
            self.take()
            parts.append(part())
        return parts[0] if len(parts) == 1 else _Group(word, tuple(parts))

    def negated(self) -> _Node:
        self.depth += 1
        if self.depth > _DEEPEST:
            self.fail(f"nested deeper than {_DEEPEST} levels")
        try:
            if self.word("not"):
                self.take()
                return _Group("not", (self.negated(),))
            if not self.word("("):
                return self.comparison()
            self.take()
            node = self.either()
            if not self.word(")"):
                self.refuse_habit()
                self.fail(f"expected ')', found {self.found()}")
            self.take()
            return node
        finally:
            self.depth -= 1

    def comparison(self) -> _Node:
        left, parts = self.operand(), list[_Node]()
        while self.next.kind == "op" and self.next.text in OPERATORS:
            token = self.take()
            right = self.operand()
            parts.append(_Compare(left, token.text, right, token.column))
            left = right
        if not parts:
            self.refuse_habit()
            self.fail(f"expected a comparison such as <= or ==, found {self.found()}")
        return parts[0] if len(parts) == 1 else _Group("and", tuple(parts))

    def operand(self) -> _Name | Value:
        token = self.next
        if token.kind == "end" or token.kind == "op" or token.text in ("and", "or", "not"):
            self.refuse_habit()
            self.fail(f"expected a name, a number or a text, found {self.found()}")
        self.take()
        if token.kind == "text":
            return token.text[1:-1]
        if token.kind == "name":
            lower = token.text.lower()
            return _WORDS[lower] if lower in _WORDS else _Name(token.text, token.column)
        number = float(token.text)
        if math.isinf(number):
            _fail(self.text, token.column, "the number is too large")
        return int(number) if number.is_integer() and abs(number) < 2**53 else number


def _tokens(text: str) -> list[_Token]:
    found: list[_Token] = []
    at = 0
    end = len(text.rstrip())
    while at < end:
        match = _TOKEN.match(text, at)
        if match is None:
            at += len(text[at:]) - len(text[at:].lstrip())
            if text[at] in "\"'":
                _fail(text, at, "the text that starts here has no closing quote")
            _fail(text, at, f"cannot read {_printable(text[at])!r}")
        kind = str(match.lastgroup)
        written = match[kind]
        found.append(_Token(kind, _OTHER_WRITINGS.get(written, written), match.start(kind)))
        at = match.end()
    return [*found, _Token("end", "", end)]


def _printable(text: str) -> str:
    return "".join(letter if letter.isprintable() else "�" for letter in text)


def _fail(text: str, column: int, message: str) -> NoReturn:
    """One line that is enough, then the text with a caret below the place."""
    start = max(0, column - _SHOWN)
    shown = _printable(text[start : column + _SHOWN])
    before, after = ("…" if start else ""), ("…" if column + _SHOWN < len(text) else "")
    caret = " " * (len(before) + column - start) + "^"
    raise BadInput(
        f"--where, column {column + 1}: {message}.\n    {before}{shown}{after}\n    {caret}"
    )
