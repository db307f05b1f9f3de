"""Objectives: what a search may want, each with its unit and its direction."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Objective:
    """One axis of the front.

    name: as in `--where` and in a measurement's values. higher: whether larger is better.
    """

    name: str
    unit: str
    higher: bool
    doc: str

    def loss(self, value: float) -> float:
        """The value turned so that smaller is better."""
        return -value if self.higher else value
