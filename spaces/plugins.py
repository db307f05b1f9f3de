"""Plug-ins are found by being there: one file, one plug-in, no list to extend.

A built-in of kind `verifiers` is the one class named by `plugin` in
`paretoken.evaluators.components.verifiers.<name>`. A plug-in from elsewhere is an entry point of
the group `paretoken.verifiers`. This module holds the only dynamic step from `spaces` upwards.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from importlib.metadata import EntryPoint, entry_points
from typing import TYPE_CHECKING, Any

from paretoken.spaces.errors import BadInput, UnknownName

if TYPE_CHECKING:
    from paretoken.spaces.component import Component


@dataclass(frozen=True)
class Plugins:
    """Every plug-in of one kind. Nothing is imported before it is asked for.

    kind: plural, and the name of the folder. package: the folder's import name.
    """

    kind: str
    package: str

    @property
    def group(self) -> str:
        """The entry-point group through which other packages add to this kind."""
        return f"paretoken.{self.kind}"

    @cached_property
    def _built_in(self) -> frozenset[str]:
        folder = importlib.import_module(self.package).__path__
        return frozenset(m.name for m in pkgutil.iter_modules(folder) if not m.name.startswith("_"))

    @cached_property
    def _foreign(self) -> dict[str, EntryPoint]:
        found: dict[str, EntryPoint] = {}
        for entry in entry_points(group=self.group):
            if entry.name in self._built_in or entry.name in found:
                raise BadInput(
                    f"two plug-ins of {self.kind} are called {entry.name!r}: rename the entry "
                    f"point {entry.value!r} in group {self.group!r}, or uninstall its package."
                )
            found[entry.name] = entry
        return found

    def names(self) -> list[str]:
        """All names of this kind, sorted."""
        return sorted(self._built_in | self._foreign.keys())

    def load(self, name: str) -> Any:
        """The plug-in of that name; raises UnknownName with the known ones."""
        if name in self._foreign:
            return self._foreign[name].load()
        if name in self._built_in:
            return importlib.import_module(f"{self.package}.{name}").plugin
        way = f"Add one as {name}.py in that folder, or as an entry point in {self.group!r}."
        raise UnknownName(f"plug-in of {self.kind}", name, self.names(), way)

    def working(self) -> Iterator[tuple[str, Any | Exception]]:
        """Each name with its plug-in, or with the error that loading it raised."""
        for name in self.names():
            try:
                yield name, self.load(name)
            except Exception as error:  # somebody else's plug-in may raise anything
                yield name, error


COMPONENT_KINDS = (
    "candidates",
    "clusterings",
    "decoders",
    "drafters",
    "verifiers",
    "residuals",
    "lengths",
    "depths",
    "samplings",
    "runtimes",
    "schedules",
    "tokenizers",
    "image_tokenizers",
)

KINDS: dict[str, Plugins] = {
    kind: Plugins(kind, f"paretoken.evaluators.components.{kind}") for kind in COMPONENT_KINDS
} | {
    "presets": Plugins("presets", "paretoken.spaces.presets"),
    "workloads": Plugins("workloads", "paretoken.evaluators.workloads"),
    "metrics": Plugins("metrics", "paretoken.evaluators.metrics.by_sample"),
    "extractors": Plugins("extractors", "paretoken.evaluators.metrics.extractors"),
    "algorithms": Plugins("algorithms", "paretoken.search.algorithms"),
    "exporters": Plugins("exporters", "paretoken.search.exporters"),
    "readers": Plugins("readers", "paretoken.evaluators.readers"),
}


def component(tag: str) -> type[Component]:
    """The component class of a tag `kind/name`: the whitelist through which JSON is read."""
    from paretoken.spaces.component import Component  # PyGlove: `export` loads plug-ins without it

    kind, _, name = tag.partition("/")
    if kind not in COMPONENT_KINDS:
        raise UnknownName("component kind", kind, COMPONENT_KINDS)
    found = KINDS[kind].load(name)
    if not (isinstance(found, type) and issubclass(found, Component) and found.kind == kind):
        raise BadInput(f"plug-in {tag!r} is not a component of kind {kind!r}: {found!r}.")
    if found.tag() != tag:  # what is stored under its tag could not be read back
        raise BadInput(
            f"plug-in {tag!r} is defined in a module called {found.__module__!r}: "
            f"the module's last name and the plug-in's must be the same."
        )
    return found
