"""Tri-gram drafts: a tree search over what follows two tokens, in a corpus and in the row's text.

After every round the triples among the row's last tokens weigh more, again and again while they are
in sight. A search by PUCT then looks for a chain that the table thinks likely as a whole. The
corpus is a text file (`--option corpus=FILE`; a small one ships), counted on first use.
Departures: a chain in place of a tree of 64, filled greedily where the window is longer than the
search; a row's nudges end with the row, so that drafts do not depend on the order of prompts; the
search draws from a seed of its own, so that equal work repeats.
Equivalences: a window of 1 drafts nothing; without iterations the search's knobs are inert, without
a boost the span.
Source: Liu et al., "Adaptive Draft-Verification" (ADED, AAAI 2025, arXiv:2407.12021).
"""

from __future__ import annotations

from paretoken.evaluators.engine.drafter import DraftMemory, Shape
from paretoken.evaluators.engine.puct import Search
from paretoken.evaluators.engine.table_drafts import TableDrafts
from paretoken.evaluators.engine.windowed import Windowed
from paretoken.spaces.component import Component, knob


class Trigram(Windowed):
    """Say what usually follows."""

    asks_corpus = True

    window: int = knob(
        5, low=1, high=64, grid=(3, 5, 9), log=True, doc="Tokens a target forward sees."
    )
    iterations: int = knob(
        150, low=0, high=1000, grid=(0, 50, 150), doc="Walks of the search; 0: no search."
    )
    depth: int = knob(3, low=1, high=16, grid=(3,), doc="Tokens that a walk looks ahead.")
    c1: float = knob(32.0, low=0.0, high=1000.0, grid=(32.0,), doc="Weight of the unexplored.")
    c2: float = knob(8.0, low=1.0, high=20000.0, grid=(8.0,), doc="Visits until it grows.")
    boost: float = knob(
        0.04, low=0.0, high=1.0, grid=(0.0, 0.04, 0.2), doc="Weight that a triple said gains."
    )
    span: int = knob(16, low=3, high=512, grid=(16,), doc="Last tokens whose triples gain it.")
    cap: float = knob(3.0, low=0.0, high=100.0, grid=(3.0,), doc="Weight of a triple at most.")

    def memory(self, shape: Shape) -> DraftMemory:
        search = Search(int(self.iterations), int(self.depth), float(self.c1), float(self.c2))
        return TableDrafts(shape, search, float(self.boost), float(self.cap), int(self.span))

    def simplified(self) -> Component:
        if self.window == 1:
            return super().simplified()
        inert: dict[str, float] = {}
        if self.iterations == 0:
            inert |= {"depth": 3, "c1": 32.0, "c2": 8.0}
        if self.boost == 0.0:
            inert |= {"span": 16}
        changed = {name: usual for name, usual in inert.items() if getattr(self, name) != usual}
        return self.clone(override=changed) if changed else self


plugin = Trigram
