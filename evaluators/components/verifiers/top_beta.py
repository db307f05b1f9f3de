"""Top-beta acceptance (GAD++): among the model's beta best tokens, and close behind the best.

A draft x stands if it is one of the beta likeliest tokens and log p(best) - log p(x) <= tau, with
the model's own law p; exact ties with the last of them count in.
Equivalences, under greedy decoding: beta = 1 or tau = 0 is exact but for exact ties; lenience l is
beta = 0 (all tokens) and tau = -ln l.
Source: Xia et al., "Speculative decoding: lossless speedup of autoregressive translation" and its
release in microsoft/unilm, decoding/GAD (2022, arXiv:2203.16487): beta 5 and tau 3 in its script.
"""

from __future__ import annotations

from torch import Tensor

from paretoken.evaluators.engine.threshold import Threshold
from paretoken.spaces.component import Component, knob

# Of a token without probability: no tau reaches so far, and a fingerprint needs a finite number.
_FARTHEST = 1e4


class TopBeta(Threshold):
    """Keep a draft that is nearly the model's favourite."""

    beta: int = knob(
        3, low=0, high=65536, grid=(2, 3, 5, 0), doc="Likeliest tokens that may stand; 0: all."
    )
    tau: float = knob(
        1.0, low=0.0, high=100.0, grid=(0.25, 0.5, 1.0, 2.0, 3.0), doc="Largest gap, in nats."
    )

    def margin(self, own: Tensor, tokens: Tensor) -> Tensor:
        wanted = own.gather(-1, tokens)
        gap = own.amax(-1, keepdim=True).log() - wanted.log()
        passes = self.tau - gap.clamp(max=_FARTHEST)
        if 0 < self.beta < own.shape[-1]:
            last = own.topk(self.beta, dim=-1).values[..., -1:]
            passes = passes.masked_fill(wanted < last, -_FARTHEST)
        return passes

    def simplified(self) -> Component:
        if self.tau == 0.0 and self.beta != 0:  # ties with the best are in, however many
            everything: Component = self.clone(override={"beta": 0})
            return everything
        return self


plugin = TopBeta
