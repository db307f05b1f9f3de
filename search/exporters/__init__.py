"""Exporters: each writes a chosen candidate in the words of one engine; one file, one engine.

A plug-in of kind `exporters` is an object of a class derived from `Exporter`. It says what the
engine has for each part of a candidate; what the engine has not it refuses, with a code, and then
nothing is written: an approximation would be another law, or another speed than was measured.
Beside it stands the JSON Schema of what it writes, for one version of the engine.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from paretoken.search.exporting.asked import Asked
from paretoken.search.exporting.refusal import Code, Finding
from paretoken.search.exporting.schedule import Schedule

# File name -> what stands in it.
Documents = dict[str, dict[str, Any]]


@dataclass(frozen=True)
class Engine:
    """Whom an exporter writes for.

    version: the one whose rules were read, at `source`. schema: file of the JSON Schema. modality:
    of its models, "text", "image" or "training"; "" for all.
    """

    name: str
    version: str
    source: str
    schema: str
    modality: str

    def __str__(self) -> str:
        return f"{self.name} {self.version}".strip()


class Exporter(ABC):
    """Turns a candidate into the documents that an engine reads."""

    engine: ClassVar[Engine]

    @abstractmethod
    def express(self, asked: Asked) -> Documents:
        """The documents by file name; what stands in the way is told to `asked`, all of it.

        A file's suffix says how it is written: see `search.exporting.syntax`. After a refusal the
        documents are not looked at.
        """

    def crossed(self, documents: Documents) -> Iterator[Finding]:
        """What the engine does not take together, where a schema cannot say so."""
        return iter(())

    def by_batch(self, asked: Asked, documents: Documents, schedule: Schedule) -> Documents:
        """The documents with a draft length for each batch size; refused unless overridden."""
        asked.refuse(
            Code.NOT_EXPRESSIBLE, "schedule", f"{self.engine.name} has one draft length for all",
            "export without --by-batch", value=schedule.told(),
        )  # fmt: skip
        return documents

    @abstractmethod
    def use(self, asked: Asked, documents: Documents) -> str:
        """How the files are used: a command or a few lines of Python. FOLDER is where they are."""

    def request(self, asked: Asked) -> Mapping[str, Any]:
        """What a file cannot say and every call has to."""
        return {}
