"""How far work is that is no search: one line that changes on a terminal, a line now and then in a
log."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.text import Text

from paretoken.spaces.workload import Report

_QUIET_S = 10.0  # between two lines of a log


@contextmanager
def telling(what: str, console: Console) -> Iterator[Report]:
    """A report to hand to the work, for as long as the context lasts."""
    if console.is_terminal:
        with console.status(what) as status:
            yield lambda phase, share: status.update(Text(_line(what, phase, share)))
        return
    said = time.monotonic()

    def say(phase: str, share: float) -> None:
        nonlocal said
        if time.monotonic() - said > _QUIET_S:
            console.print(_line(what, phase, share), markup=False, soft_wrap=True)
            said = time.monotonic()

    yield say


def _line(what: str, phase: str, share: float) -> str:
    return f"{what}: {phase} ({share:.0%})"
