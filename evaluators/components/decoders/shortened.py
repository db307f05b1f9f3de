"""Speculative decoding of a shortened model: some of the target's layers are left out, by a rule.

What is left out makes the target another model. Drafts are checked against that model, so a
lossless rule follows its law, and every decoder that does shares one law and one quality; the
quality itself is judged by the whole model. Drafters that use the target's layers use the whole
one's.
Equivalence: leaving out nothing is `decoders/speculative`.
"""

from __future__ import annotations

from paretoken.evaluators.components.decoders.speculative import Speculative
from paretoken.evaluators.engine.depth import Depth
from paretoken.spaces.component import Component, part


class Shortened(Speculative):
    """Let fewer layers decide."""

    depth: Depth = part("depths", default="by_position", doc="Which layers run for which token.")

    def simplified(self) -> Component:
        if not self.depth.whole:
            return super().simplified()
        return Speculative(
            drafter=self.drafter,
            verifier=self.verifier,
            residual=self.residual,
            length=self.length,
        )


plugin = Shortened
