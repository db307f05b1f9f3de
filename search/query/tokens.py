"""Conditions as tokens, and how an error points at its column."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import NoReturn

from paretoken.spaces.errors import BadInput

LONGEST = 50_000  # characters
_SHOWN = 34  # characters shown on either side of an error

_OTHER_WRITINGS = {"≤": "<=", "≥": ">=", "≠": "!=", "=": "=="}
_TOKEN = re.compile(
    r"""\s*(?:
      (?P<number> [+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?(?![\w.]) )
    | (?P<name>   [^\W\d]\w*(?:\.\w+)* )
    | (?P<text>   "[^"\x00-\x1f\ud800-\udfff]*" | '[^'\x00-\x1f\ud800-\udfff]*' )
    | (?P<op>     <=|>=|==|!=|<>|=<|=>|&&|\|\||[<>=!&|(),%≤≥≠] )
    )""",
    re.VERBOSE,
)


@dataclass(frozen=True)
class Source:
    """A text that the user wrote, and the option it was given to."""

    text: str
    option: str = "--where"

    def fail(self, column: int, message: str) -> NoReturn:
        """Raise BadInput: one line that is enough, then the text with a caret below the place."""
        start = max(0, column - _SHOWN)
        shown = printable(self.text[start : column + _SHOWN])
        before = "…" if start else ""
        after = "…" if column + _SHOWN < len(self.text) else ""
        caret = " " * (len(before) + column - start) + "^"
        raise BadInput(
            f"{self.option}, column {column + 1}: {message}.\n    {before}{shown}{after}\n"
            f"    {caret}"
        )


@dataclass(frozen=True)
class Token:
    """kind: "number", "name", "text", "op" or "end". column: from 0."""

    kind: str
    text: str
    column: int

    @property
    def said(self) -> str:
        """What was found, for a message."""
        return "the end" if self.kind == "end" else repr(printable(self.text)[:40])


def tokens(source: Source) -> list[Token]:
    """The tokens of a text, with one for its end; raises BadInput for what is none."""
    text = source.text
    if len(text) > LONGEST:
        source.fail(LONGEST, f"longer than {LONGEST:,} characters")
    found: list[Token] = []
    at, end = 0, len(text.rstrip())
    while at < end:
        match = _TOKEN.match(text, at)
        if match is None:
            at += len(text[at:]) - len(text[at:].lstrip())
            if text[at] in "\"'":
                closed = text.find(text[at], at + 1) > 0
                source.fail(
                    at,
                    "the text that starts here has characters that cannot be printed in it"
                    if closed
                    else "the text that starts here has no closing quote",
                )
            source.fail(at, f"cannot read {printable(text[at])!r}")
        kind = str(match.lastgroup)
        written = match[kind]
        found.append(Token(kind, _OTHER_WRITINGS.get(written, written), match.start(kind)))
        at = match.end()
    return [*found, Token("end", "", end)]


def printable(text: str) -> str:
    """The text with a sign in place of each character that would upset a terminal."""
    return "".join(letter if letter.isprintable() else "�" for letter in text)
