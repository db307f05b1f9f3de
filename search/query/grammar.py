"""The grammar of conditions: recursive descent, one method a rule."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import NoReturn

from paretoken.cache.condition import MISSING, SIGNS, Value
from paretoken.search.query.tokens import Source, Token, tokens

_DEEPEST = 50  # levels of parentheses and `not`: far beyond need, far below Python's own limit
_MOST = 200  # comparisons: SQLite takes expressions of up to 1,000 levels

_HABITS = {
    "&&": "and", "&": "and", "||": "or", "|": "or", "!": "not", "<>": "!=", "=<": "<=", "=>": ">=",
}  # fmt: skip
_WORDS: dict[str, Value] = {
    "true": True, "false": False, "null": None, "none": None, "missing": MISSING,
}  # fmt: skip
_KEYWORDS = ("and", "or", "not", "in")


@dataclass(frozen=True)
class Name:
    """A quantity or a setting, as it was written."""

    text: str
    column: int


@dataclass(frozen=True)
class Comparison:
    """column: of the sign."""

    left: Name | Value
    sign: str
    right: Name | Value
    column: int


@dataclass(frozen=True)
class Group:
    """word: "and", "or" or "not"; "not" has one part."""

    word: str
    parts: tuple[Node, ...]


Node = Comparison | Group


def parse(source: Source) -> Node:
    """The condition in a text; raises BadInput, with the column, for anything else."""
    return _Parser(source).whole()


class Reader:
    """Tokens, one after the other."""

    def __init__(self, source: Source) -> None:
        self.source = source
        self._tokens = tokens(source)
        self._at = 0

    @property
    def next(self) -> Token:
        """The token that is read next."""
        return self._tokens[self._at]

    def take(self) -> Token:
        """Go on to the next token; the end stays."""
        token = self.next
        self._at += token.kind != "end"
        return token

    def word(self, *words: str) -> bool:
        """Whether one of these names or signs comes next."""
        return self.next.kind in ("name", "op") and self.next.text in words

    def fail(self, message: str) -> NoReturn:
        """Raise BadInput at the next token."""
        self.source.fail(self.next.column, message)

    def number(self) -> float:
        """Take a number; whole ones stay whole."""
        token = self.take()
        found = float(token.text)
        if math.isinf(found):
            self.source.fail(token.column, "the number is too large")
        return int(found) if found.is_integer() and abs(found) < 2**53 else found


class _Parser(Reader):
    def __init__(self, source: Source) -> None:
        super().__init__(source)
        self._depth = self._comparisons = 0

    def whole(self) -> Node:
        if self.next.kind == "end":
            self.fail("the condition is empty; write for instance fid <= 60 and speedup >= 2")
        node = self._either()
        if self.next.kind != "end":
            self._refuse_habit()
            self.fail(f"expected 'and', 'or' or the end, found {self.next.said}")
        return node

    def _refuse_habit(self) -> None:
        """Point out what belongs elsewhere; does nothing at any other token."""
        if self.next.kind == "op" and self.next.text in _HABITS:
            self.fail(f"write {_HABITS[self.next.text]!r} instead of {self.next.text!r}")
        if self.word("%"):
            self.fail("a change from plain decoding in per cent belongs into --budget")

    def _either(self) -> Node:
        return self._joined("or", lambda: self._joined("and", self._negated))

    def _joined(self, word: str, part: Callable[[], Node]) -> Node:
        parts = [part()]
        while self.word(word):
            self.take()
            parts.append(part())
        return parts[0] if len(parts) == 1 else Group(word, tuple(parts))

    def _negated(self) -> Node:
        self._depth += 1
        if self._depth > _DEEPEST:
            self.fail(f"nested deeper than {_DEEPEST} levels")
        try:
            if self.word("not"):
                self.take()
                return Group("not", (self._negated(),))
            if not self.word("("):
                return self._comparison()
            self.take()
            node = self._either()
            self._close()
            return node
        finally:
            self._depth -= 1

    def _close(self) -> None:
        if not self.word(")"):
            self._refuse_habit()
            self.fail(f"expected ')', found {self.next.said}")
        self.take()

    def _comparison(self) -> Node:
        left, parts = self._operand(), list[Node]()
        if self.word("in", "not"):
            return self._among(left)
        while self.next.kind == "op" and self.next.text in SIGNS:
            sign = self.take()
            right = self._operand()
            parts.append(self._made(left, sign, right))
            left = right
        if not parts:
            self._refuse_habit()
            self.fail(f"expected a comparison such as <= or ==, found {self.next.said}")
        return parts[0] if len(parts) == 1 else Group("and", tuple(parts))

    def _among(self, left: Name | Value) -> Node:
        negated = self.take()
        sign = negated if negated.text == "in" else self.take()
        if sign.text != "in":
            self.source.fail(sign.column, f"expected 'in' after 'not', found {sign.said}")
        if not self.word("("):
            self.fail(f'expected a list such as ("exact", "grouped"), found {self.next.said}')
        parts = list[Node]()
        while not parts or self.word(","):
            self.take()
            column, value = self.next.column, self._operand()
            if isinstance(value, Name):
                self.source.fail(column, f"a list has values in it, and text needs quotes: "
                                 f"{value.text!r}")  # fmt: skip
            parts.append(self._made(left, Token("op", "==", sign.column), value))
        self._close()
        found = parts[0] if len(parts) == 1 else Group("or", tuple(parts))
        return found if negated is sign else Group("not", (found,))

    def _made(self, left: Name | Value, sign: Token, right: Name | Value) -> Comparison:
        self._comparisons += 1
        if self._comparisons > _MOST:
            self.source.fail(sign.column, f"more than {_MOST} comparisons")
        if MISSING in (left, right) and sign.text not in ("==", "!="):
            self.source.fail(sign.column, f"what is missing is == or !=, not {sign.text}")
        return Comparison(left, sign.text, right, sign.column)

    def _operand(self) -> Name | Value:
        token = self.next
        if token.kind in ("end", "op") or token.text in _KEYWORDS:
            self._refuse_habit()
            self.fail(f"expected a name, a number or a text, found {token.said}")
        if token.kind == "number":
            return self.number()
        self.take()
        if token.kind == "text":
            return token.text[1:-1]
        lower = token.text.lower()
        return _WORDS[lower] if lower in _WORDS else Name(token.text, token.column)
