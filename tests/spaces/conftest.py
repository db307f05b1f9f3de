"""Toy components in place of the real ones: quick, torch-free, and with every kind of field."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pytest

from paretoken.spaces.component import Component, knob, part
from paretoken.spaces.errors import UnknownName
from paretoken.spaces.plugins import KINDS, Plugins


class Speculative(Component):
    __module__ = "toys.speculative"
    kind = "decoders"

    drafter: Component = part("drafters", default="none", doc="Who proposes.")
    verifier: Component = part("verifiers", default="exact", doc="What is kept.")


class NoDraft(Component):
    __module__ = "toys.none"
    kind = "drafters"


class Jacobi(Component):
    __module__ = "toys.jacobi"
    kind = "drafters"

    window: int = knob(16, low=1, high=64, log=True, doc="Tokens a forward sees.")
    coupling: str = knob("none", among=("none", "maximal", "gumbel"), doc="Old and new guess.")


class Skip(Component):
    __module__ = "toys.skip"
    kind = "drafters"

    layers: list = knob([0, 1], among=(0, 1, 2, 3), many=2, doc="Layers left out.")
    rate: float = knob(0.1, low=0.001, high=1.0, log=True, doc="Learning rate.")


class Exact(Component):
    __module__ = "toys.exact"
    kind = "verifiers"


class Grouped(Component):
    __module__ = "toys.grouped"
    kind = "verifiers"

    size: int = knob(4, low=1, high=1024, grid=(8, 2, 4), doc="Group size.")
    strict: bool = knob(True, doc="Whether ties count.")


class Standard(Component):
    __module__ = "toys.standard"
    kind = "samplings"

    temperature: float = knob(1.0, low=0.0, high=2.0, doc="Divides the logits.")


class Local(Component):
    __module__ = "toys.local"
    kind = "runtimes"

    batch: int = knob(1, low=1, high=4096, grid=(1,), doc="Rows decoded together.")


@dataclass(frozen=True)
class Toys(Plugins):
    """Plug-ins out of a table; an exception in it is raised by loading."""

    table: Mapping[str, Any]

    def names(self) -> list[str]:
        return sorted(self.table)

    def load(self, name: str) -> Any:
        if name not in self.table:
            raise UnknownName(f"plug-in of {self.kind}", name, self.names())
        found = self.table[name]
        if isinstance(found, Exception):
            raise found
        return found


@pytest.fixture(autouse=True)
def toys(monkeypatch: pytest.MonkeyPatch) -> dict[str, dict[str, Any]]:
    """The tables by kind; what a test changes in them holds for that test."""
    tables: dict[str, dict[str, Any]] = {
        "decoders": {"speculative": Speculative},
        "drafters": {"jacobi": Jacobi, "none": NoDraft, "skip": Skip},
        "verifiers": {"exact": Exact, "grouped": Grouped},
        "residuals": {},
        "lengths": {},
        "samplings": {"standard": Standard},
        "runtimes": {"local": Local},
    }
    for kind, table in tables.items():
        monkeypatch.setitem(KINDS, kind, Toys(kind, "toys", table))
    return tables
