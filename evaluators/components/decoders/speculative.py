"""Speculative decoding: drafter x verifier x residual x length, the one loop of published methods.

`plain`, `sjd`, `gsd`, `lantern`, … are settings of this loop (`paretoken.spaces.decoders`).
Equivalences: without drafts the other parts are inert; shared noise verifies by equality and drops
verifier and residual; the exact verifier has one residual; a verifier that only relaxes has
matched = exact residual; a window of 2 leaves an adaptive length nothing to choose; a length rule
that asks for the draft's law is inert where drafts have none; a verifier that takes one chain makes
others of a tree pointless, one that takes independent drafts those that are not; one chain makes
verifiers of trees the exact one.
"""

from __future__ import annotations

from operator import is_

from paretoken.evaluators.components.drafters.none import NoDraft
from paretoken.evaluators.components.lengths.adaptive import Adaptive
from paretoken.evaluators.components.lengths.fixed import Fixed
from paretoken.evaluators.components.residuals.exact import Exact as ExactResidual
from paretoken.evaluators.components.residuals.matched import Matched
from paretoken.evaluators.components.verifiers.exact import Exact
from paretoken.evaluators.engine.by_level import ByLevel
from paretoken.evaluators.engine.drafter import Drafter
from paretoken.evaluators.engine.length import Length
from paretoken.evaluators.engine.verifier import PerToken, Residual, SharedNoise, Verifier
from paretoken.spaces.component import Component, part


class Speculative(Component):
    """Draft, check, commit, and go on from the first token that did not stand."""

    kind = "decoders"

    drafter: Drafter = part("drafters", default="none", doc="Who proposes tokens.")
    verifier: Verifier = part("verifiers", default="exact", doc="Which of them are kept.")
    residual: Residual = part("residuals", default="exact", doc="The law after a rejection.")
    length: Length = part("lengths", default="fixed", doc="How far to draft.")

    @property
    def rule(self) -> Verifier:
        """The verifier in force."""
        return SharedNoise() if self.drafter.shares_noise else self.verifier

    @property
    def drafting(self) -> Drafter:
        """The drafter in force: with one chain of drafts where the verifier takes no more."""
        drafter, branches = self.drafter, self.rule.branches
        takes = branches == "any" or (branches == "independent" and drafter.independent)
        return drafter if takes else drafter.alone()

    def simplified(self) -> Component:
        drafter, verifier = self.drafting, self.verifier
        residual, length = self.residual, self.length
        if isinstance(drafter, NoDraft) and not isinstance(length, Fixed):
            length = Fixed()
        if isinstance(length, Adaptive) and length.least >= drafter.most:
            length = Fixed()
        if length.asks_law and not drafter.has_law:
            length = Fixed()
        if drafter.shares_noise and not isinstance(verifier, Exact):
            verifier = Exact()
        if verifier.branches != "none" and drafter.nodes < drafter.most:
            verifier = Exact()
        if isinstance(verifier, Exact | ByLevel) and not isinstance(residual, ExactResidual):
            residual = ExactResidual()
        if isinstance(residual, Matched) and isinstance(verifier, PerToken):
            if verifier.relaxes_only:
                residual = ExactResidual()
        simpler = drafter, verifier, residual, length
        if all(map(is_, simpler, (self.drafter, self.verifier, self.residual, self.length))):
            return self  # building one anew takes longer than finding out
        simplest: Component = self.clone(
            override={
                "drafter": drafter,
                "verifier": verifier,
                "residual": residual,
                "length": length,
            }
        )
        return simplest


plugin = Speculative
