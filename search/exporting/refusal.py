"""Refusals: what an engine cannot do with a candidate, with a code, the reason and a way out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from paretoken.spaces.errors import ParetokenError


class Code(StrEnum):
    """Why something is refused; scripts may rely on these words."""

    NOT_EXPRESSIBLE = "NOT_EXPRESSIBLE"  # no field of the engine says it
    LOSSY_MISMATCH = "LOSSY_MISMATCH"  # an acceptance rule that only other engines have
    CROSS_FIELD = "CROSS_FIELD"  # two values that the engine does not take together
    OUT_OF_RANGE = "OUT_OF_RANGE"  # a value beyond what the engine takes
    REMOVED = "REMOVED"  # older versions of the engine had it
    RUNTIME_ONLY = "RUNTIME_ONLY"  # belongs to a call or a model, not to a file
    UNVERIFIED_SEMANTICS = "UNVERIFIED_SEMANTICS"  # nearly the same thing: --allow-unverified
    SILENTLY_IGNORED = "SILENTLY_IGNORED"  # the engine would take it and not do it


@dataclass(frozen=True)
class Finding:
    """One thing about one knob. knob: its path. why: one clause. way: what to do instead, or ""."""

    code: Code
    knob: str
    value: Any
    why: str
    way: str = ""

    def __str__(self) -> str:
        way = f"; {self.way}" if self.way else ""
        return f"{self.code} {self.knob} = {self.value}: {self.why}{way}."

    def plain(self) -> dict[str, Any]:
        """The finding as plain JSON."""
        return {
            "code": str(self.code),
            "knob": self.knob,
            "value": self.value,
            "why": self.why,
            "way": self.way,
        }


class Refused(ParetokenError):
    """An engine cannot express a candidate; everything that stands in the way is told at once.

    engine: name and version. source: where the rules were read.
    """

    exit_code = 3

    def __init__(
        self, engine: str, source: str, findings: Sequence[Finding], way: str = ""
    ) -> None:
        self.engine, self.source, self.findings = engine, source, tuple(findings)
        told = "".join(f"\n  {finding}" for finding in findings)
        out = f"\n{way}" if way else ""
        super().__init__(f"{engine} cannot express it (rules: {source}):{told}{out}")

    def with_way(self, way: str) -> Refused:
        """The same with a way out behind it."""
        return Refused(self.engine, self.source, self.findings, way)

    @property
    def codes(self) -> tuple[str, ...]:
        """The codes, each once."""
        return tuple(dict.fromkeys(str(finding.code) for finding in self.findings))
