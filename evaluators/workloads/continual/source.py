"""Source: where the data sets of continual pre-training come from; loaded when they are needed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from paretoken.evaluators.training.domains import Domain, Format
from paretoken.spaces.workload import Report


class Source(Protocol):
    """Two data sets, the old one first.

    identity: plain JSON that equal data have in common. names: of the data sets, for people.
    """

    identity: Mapping[str, Any]
    format: Format
    names: tuple[str, str]

    def load(self, report: Report) -> tuple[Domain, ...]:
        """The data sets, on the CPU; may take minutes the first time."""
