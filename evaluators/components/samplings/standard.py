"""Standard sampling law: guidance, temperature, top-k, top-p, softmax, in this order.

Guidance: u + cfg * (c - u), for tokens up to `cfg_interval` + 1 (the first token always; -1: all).
Temperature 0 is greedy. Top-k keeps ties at its threshold; top-p drops a token if the mass before
it already exceeds top_p, so the likeliest always stays.
Equivalences: cfg 1 and below are off; top_k 0 is off; top_k 1 is greedy but for exact ties, so it
is left alone; greedy ignores temperature, top-k and top-p, but not guidance.
Source: LlamaGen (Sun et al. 2024, arXiv:2406.06525), its sampling kernel.
"""

from __future__ import annotations

import torch
from torch import Tensor

from paretoken.evaluators.engine.laws import one_hot
from paretoken.evaluators.engine.sampling import Sampling
from paretoken.evaluators.kernels import fused
from paretoken.spaces.component import Component, knob


class Standard(Sampling):
    """The target law that every decoder of one candidate follows or approximates."""

    temperature: float = knob(
        1.0,
        low=0.0,
        high=4.0,
        grid=(0.9, 0.95, 1.0, 1.05, 1.1),
        doc="Divides the logits; 0: greedy.",
    )
    top_k: int = knob(
        0, low=0, high=65536, grid=(0, 500, 1000, 2000, 8000), doc="Likeliest tokens kept; 0: all."
    )
    top_p: float = knob(1.0, low=0.0, high=1.0, grid=(0.9, 0.95, 1.0), doc="Mass kept; 1: all.")
    cfg: float = knob(
        1.0,
        low=1.0,
        high=20.0,
        grid=(1.0, 1.25, 1.5, 2.0, 3.0, 4.0),
        doc="Guidance scale; 1: none.",
    )
    cfg_interval: int = knob(
        -1, low=-1, high=65536, grid=(-1,), doc="Last decode step that is guided; -1: all."
    )

    @property
    def guided(self) -> bool:
        return bool(self.cfg > 1.0)

    @property
    def certain(self) -> bool:
        return bool(self.temperature == 0.0)

    def guided_at(self, index: int) -> bool:
        return self.guided and (self.cfg_interval < 0 or index <= self.cfg_interval + 1)

    def laws(self, conditional: Tensor, unconditional: Tensor | None, index: Tensor) -> Tensor:
        if fused(conditional.device, conditional.shape[-1]) and self.temperature > 0.0:
            from paretoken.evaluators.kernels import laws as kernels

            return kernels.laws(
                conditional, unconditional, index,
                cfg=self.cfg, cfg_interval=self.cfg_interval,
                temperature=max(self.temperature, 1e-5), top_k=self.top_k, top_p=self.top_p,
            )  # fmt: skip
        logits = conditional
        if unconditional is not None:
            logits = unconditional + self.cfg * (conditional - unconditional)
            if self.cfg_interval >= 0:
                within = (index <= self.cfg_interval + 1).unsqueeze(-1)
                logits = torch.where(within, logits, conditional)
        vocabulary = logits.shape[-1]
        if self.temperature == 0.0:
            greedy = one_hot(logits.argmax(-1), vocabulary, logits.dtype)
            # Keep a NaN visible: arg-max would turn it into a token.
            return torch.where(logits.isnan().any(-1, keepdim=True), torch.nan, greedy)
        if self.temperature != 1.0:
            logits = logits / max(self.temperature, 1e-5)
        if 0 < self.top_k < vocabulary:
            least = logits.topk(self.top_k, dim=-1).values[..., -1:]
            logits = logits.masked_fill(logits < least, -torch.inf)
        law = logits.softmax(-1)
        if self.top_p < 1.0:
            sorted_law, order = law.sort(dim=-1, descending=True, stable=True)
            reached = (sorted_law.cumsum(-1) > self.top_p).roll(1, dims=-1)  # by those before it
            reached[..., 0] = False
            law = law.masked_fill(reached.scatter(-1, order, reached), 0.0)
            law = law / law.sum(-1, keepdim=True)
        return law

    def simplified(self) -> Component:
        simpler = self
        if self.temperature == 0.0 and (self.top_k, self.top_p) != (0, 1.0):
            simpler = simpler.clone(override={"top_k": 0, "top_p": 1.0})
        if 0.0 < self.temperature < 1e-5:
            simpler = simpler.clone(override={"temperature": 1e-5})
        if self.cfg == 1.0 and self.cfg_interval != -1:
            simpler = simpler.clone(override={"cfg_interval": -1})
        return simpler


plugin = Standard
