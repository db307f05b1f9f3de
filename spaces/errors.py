"""What can go wrong, as one small tree.

    ParetokenError
    ├── BadInput            the user asked for something that cannot be        (exit code 2)
    │   ├── UnknownName     a plug-in, study, field or workload nobody knows
    │   └── BadValue        a known field with a value outside its legal range
    ├── Unreadable          a file or store that is damaged, locked or of another kind  (exit 1)
    └── MeasurementFailed   one candidate could not be measured; the search goes on

Every message names the rule, the value that broke it and the way out, on one line.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable

_LONGEST = 200  # characters of what the user wrote that a message repeats


def short(text: str) -> str:
    """What the user wrote, for a message: on a terminal, and of a length that can be read."""
    shown = text if len(text) <= _LONGEST else text[:_LONGEST] + "…"
    return shown.encode(errors="backslashreplace").decode()


class ParetokenError(Exception):
    """Base of every error that paretoken raises on purpose."""

    exit_code = 1


class BadInput(ParetokenError, ValueError):
    """The user asked for something that cannot be."""

    exit_code = 2


class UnknownName(BadInput, LookupError):
    """Nobody knows a thing of this name."""

    def __init__(self, kind: str, name: str, known: Iterable[str], way_out: str = "") -> None:
        names = sorted(known)
        name = short(name)
        close = difflib.get_close_matches(name, names, n=1)
        hint = f" Did you mean {close[0]!r}?" if close else ""
        listing = f" Known: {', '.join(names)}." if names else f" There is no {kind} yet."
        super().__init__(
            f"no {kind} is called {name!r}.{hint}{listing}{' ' + way_out if way_out else ''}"
        )


class BadValue(BadInput):
    """A known field was given a value outside its legal range."""


class Unreadable(ParetokenError, OSError):
    """A file or store is damaged, locked, missing or of another kind."""


class MeasurementFailed(ParetokenError, RuntimeError):
    """One candidate could not be measured; `reason` is a short stable word for the record."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail

    def __reduce__(self) -> tuple[type[MeasurementFailed], tuple[str, str]]:
        """Made anew from its parts: Ray copies what fails in another process."""
        return type(self), (self.reason, self.detail)
