"""Group residual: a group from norm([P - Q]+), then a token from p within it.

Written token by token as p * [1 - 1/ratio]+ with the verifier's ratio P/Q of group masses. For a
true partition the emitted law has exactly the target's group marginals, unless the target forbids
tokens that were drafted (they are refused whatever their group); for overlapping groups it is the
same formula without that promise. With the exact ratio p/q it is the exact residual.
"""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from paretoken.evaluators.engine.laws import normalised
from paretoken.evaluators.engine.verifier import Residual


class Group(Residual):
    """Draw a group that the drafts left short, then a token of it as the target would."""

    def law(self, p: Tensor, q: Tensor, ratio: Callable[[], Tensor]) -> Tensor:
        # ratio 0 only where p is 0; an infinite ratio (no draft mass at all) keeps all of p.
        short = (1.0 - 1.0 / ratio()).clamp_min(0.0).nan_to_num(nan=0.0)
        return normalised(p * short, otherwise=p)


plugin = Group
