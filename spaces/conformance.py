"""Conformance: whether a plug-in does what its kind promises, in suites that ship with paretoken.

    from paretoken.spaces.conformance import check

    def test_my_verifier() -> None:
        check("verifiers", MyVerifier)

The suite of a kind stands beside its code, in `paretoken.<folder>.conformance.<kind>`: a function
`suite(plugin, **options)` that yields each check as a pair of what it looks at and a call that
returns what is wrong, "" if nothing is. `paretoken plugins KIND --check NAME` runs the same.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

from paretoken.spaces.errors import ParetokenError, UnknownName
from paretoken.spaces.plugins import COMPONENT_KINDS, KINDS, component

# What a check looks at, and what is wrong there.
Check = tuple[str, Callable[[], str]]


@dataclass(frozen=True)
class Checked:
    """One check that ran. problem: what is wrong, "" where the plug-in conforms."""

    what: str
    problem: str


class NotConforming(ParetokenError):
    """A plug-in breaks what its kind promises; every check that failed is told."""

    def __init__(self, kind: str, plugin: str, failed: list[Checked]) -> None:
        told = "".join(f"\n  {one.what}: {one.problem}" for one in failed)
        super().__init__(f"{plugin} is not what {kind} have to be:{told}")
        self.failed = tuple(failed)


def kinds() -> list[str]:
    """The kinds of plug-ins that have a suite."""
    return [kind for kind in KINDS if _there(_suite_of(kind))]


def checks(kind: str, plugin: Any, **options: Any) -> Iterator[Checked]:
    """Run the suite of a kind, check by check; whatever a check raises is its problem.

    plugin: its name, or what a file or entry point calls `plugin`. options: of the suite, such as
    those that a workload is opened with. Raises UnknownName for a kind without a suite.
    """
    if kind not in kinds():
        raise UnknownName("conformance suite", kind, kinds())
    found = plugin
    if isinstance(plugin, str):
        found = KINDS[kind].load(plugin)
        if kind in COMPONENT_KINDS:  # what is stored under its tag has to be found again
            yield _run("its tag leads to it", lambda: str(component(f"{kind}/{plugin}") and ""))
    for what, call in importlib.import_module(_suite_of(kind)).suite(found, **options):
        yield _run(what, call)


def check(kind: str, plugin: Any, **options: Any) -> None:
    """Raise NotConforming with all that is wrong; for arguments see `checks`."""
    failed = [one for one in checks(kind, plugin, **options) if one.problem]
    if failed:
        name = plugin if isinstance(plugin, str) else getattr(plugin, "__name__", repr(plugin))
        raise NotConforming(kind, name, failed)


def _run(what: str, call: Callable[[], str]) -> Checked:
    try:
        return Checked(what, call())
    except Exception as error:  # somebody else's plug-in may raise anything
        return Checked(what, f"{type(error).__name__}: {' '.join(str(error).split())}")


def _there(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:  # a folder without any suite
        return False


def _suite_of(kind: str) -> str:
    folder = ".".join(KINDS[kind].package.split(".")[:2])
    return f"{folder}.conformance.{kind}"
