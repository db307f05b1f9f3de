"""Entropy stop: draft while the drafting model is sure enough for drafts to be worth checking.

Goes on while 1 - sqrt(c * H(q)) >= least, a lower bound of the acceptance that the entropy H (nats)
of the draft's law promises. Lossless, as every rule that looks at earlier drafts only.
Source: Agrawal et al., "AdaEDL" (2024, arXiv:2410.18351), with a fixed bound in place of its
running one.
"""

from __future__ import annotations

import torch
from torch import Tensor

from paretoken.evaluators.components.lengths.fixed import Fixed
from paretoken.spaces.component import knob


class Entropy(Fixed):
    """Stop when the draft's law is spread too widely."""

    modality = "text"
    asks_law = True

    c: float = knob(0.2, low=0.0, high=10.0, grid=(0.1, 0.2, 0.5), doc="Weight of the entropy.")
    least: float = knob(
        0.4, low=0.0, high=1.0, grid=(0.2, 0.4, 0.6), doc="Promised acceptance that goes on."
    )

    def goes_on(self, law: Tensor, token: Tensor) -> Tensor | None:
        entropy = torch.special.entr(law).sum(-1)
        promised: Tensor = 1.0 - (self.c * entropy).sqrt()
        return promised.ge(self.least)


plugin = Entropy
