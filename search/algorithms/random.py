"""Random search: every decision drawn on its own, whatever was found before.

Proposal n depends on the seed and n alone. Floats on a log scale are drawn log-uniformly.
Source: Bergstra and Bengio, "Random search for hyper-parameter optimization" (JMLR 2012).
"""

from __future__ import annotations

from paretoken.search.algorithm import Algorithm, Told
from paretoken.search.decisions import Numbers


class RandomSearch(Algorithm):
    """Draw at random; it may repeat itself."""

    def propose(self, n: int) -> Numbers | None:
        return self.decisions.random(self.chance(n))

    def learn(self, told: Told) -> None:
        """Nothing is learnt."""

    def replay(self, n: int, numbers: Numbers) -> None:
        """Nothing is remembered."""


plugin = RandomSearch
