"""Exporters: each writes a chosen candidate in the words of one target; one file, one target.

A plug-in of kind `exporters` is an object with the methods of `Exporter`. Where the target cannot
express a candidate it raises BadInput and writes nothing: an approximation would be another law.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from paretoken.spaces.records import StudyInfo, Trial


@dataclass(frozen=True)
class Chosen:
    """A candidate somebody wants to use, with what was measured. date: ISO 8601, UTC."""

    study: StudyInfo
    trial: Trial
    date: str


class Exporter(Protocol):
    """Turns a chosen candidate into the text of one file."""

    suffix: str  # of the file's name, such as ".json"

    def render(self, chosen: Chosen) -> str:
        """The whole file; raises BadInput for what the target cannot express."""
        ...
