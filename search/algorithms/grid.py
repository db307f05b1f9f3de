"""Grid search: every candidate once, in an order that is spread over the whole space.

Candidates are numbered with the last decision varying fastest. Stepping by about the golden ratio
of their number, which shares no divisor with it, meets each of them once, and any first part of the
order is spread evenly: a grid that is stopped early has not just varied the last knob. The seed
chooses where it starts.
Source: Kronecker (golden ratio) sequences, Niederreiter 1992.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from paretoken.search.algorithm import Algorithm, Told
from paretoken.search.decisions import Decisions, Numbers
from paretoken.spaces.errors import BadInput
from paretoken.spaces.objectives import Objective


class Grid(Algorithm):
    """Enumerate a finite space."""

    def __init__(self, decisions: Decisions, objectives: Sequence[Objective], seed: int) -> None:
        super().__init__(decisions, objectives, seed)
        if math.isinf(decisions.count):
            floats = ", ".join(p.name for p in decisions.points if not p.size)
            raise BadInput(f"a grid needs a finite space: give values with --set for {floats}.")
        self._count = int(decisions.count)
        golden = (math.sqrt(5.0) - 1.0) / 2.0
        self._step = max(1, int(self._count * golden))
        while math.gcd(self._step, self._count) > 1:
            self._step += 1
        self._start = self.chance(0).randrange(self._count)

    def propose(self, n: int) -> Numbers | None:
        if n >= self._count:
            return None
        return self.decisions.nth((self._start + n * self._step) % self._count)

    def learn(self, told: Told) -> None:
        """Nothing is learnt."""

    def replay(self, n: int, numbers: Numbers) -> None:
        """The place in the order is n."""


plugin = Grid
