"""Latent-neighbour acceptance (LANTERN): a draft is helped by the mass of its nearest tokens.

For a draft x with neighbours in order of distance, c_i is the target mass of the first i <= k of
them. The largest c within the bound is added: ratio = (p(x) + c) / q(x). The additive bound is the
total variation moved, c <= bound; the multiplicative one (LANTERN++) is c <= (bound - 1) * p(x).
Equivalences: additive 0 and multiplicative 1 are exact; additive bounds of 1 and more are one.
Sources: Jang et al. (2025, arXiv:2410.03355); Park et al., LANTERN++ (2025, arXiv:2502.06352).
"""

from __future__ import annotations

import torch
from torch import Tensor

from paretoken.evaluators.components.verifiers.exact import Exact
from paretoken.evaluators.engine.geometry import SPACES, Geometry, Space
from paretoken.evaluators.engine.verifier import PerToken
from paretoken.spaces.component import Component, knob

# Neighbour masses of this many (token, neighbour) pairs are gathered at once: 256 MB in float32.
_MOST_PAIRS = 1 << 26


class LatentNeighbour(PerToken):
    """Keep a draft as often as the target would have it or something that looks like it."""

    modality = "image"

    k: int = knob(
        100,
        low=0,
        high=16384,
        grid=(5, 10, 30, 100, 300, 1000),
        log=True,
        doc="Neighbours counted.",
    )
    bound_kind: str = knob(
        "additive", among=("additive", "multiplicative"), doc="What limits the borrowed mass."
    )
    bound: float = knob(
        0.2,
        low=0.0,
        high=100.0,
        grid=(0.05, 0.1, 0.2, 0.4, 1.5, 2.0, 5.0),
        doc="At most this mass (additive) or this multiple of p(x) (multiplicative).",
    )
    space: Space = knob("normalised", among=SPACES, doc="Where distances are measured.")

    def ratio(
        self, p: Tensor, q: Tensor, tokens: Tensor, slot: Tensor, geometry: Geometry
    ) -> Tensor:
        own = p.gather(-1, tokens)
        neighbours = geometry.neighbours(self.space, self.k)
        if neighbours.shape[1] == 0:
            return own / q.gather(-1, tokens)
        at_once = max(1, _MOST_PAIRS // max(1, neighbours.shape[1] * p[..., 0].numel()))
        borrowed = [
            self._borrowed(p, part, neighbours) for part in torch.split(tokens, at_once, dim=-1)
        ]
        return (own + torch.cat(borrowed, dim=-1)) / q.gather(-1, tokens)

    def _borrowed(self, p: Tensor, tokens: Tensor, neighbours: Tensor) -> Tensor:
        near = neighbours[tokens]  # [..., K, k]
        mass = p.gather(-1, near.flatten(-2)).view(near.shape).cumsum(-1)
        if self.bound_kind == "additive":
            # Sums can round to more than 1; a bound of 1 is none.
            within = mass <= (self.bound if self.bound < 1.0 else torch.inf)
        else:
            within = mass <= (self.bound - 1.0) * p.gather(-1, tokens).unsqueeze(-1)
        return torch.where(within, mass, 0.0).amax(-1)

    def simplified(self) -> Component:
        multiplicative = self.bound_kind == "multiplicative"
        if self.k == 0 or self.bound <= (1.0 if multiplicative else 0.0):
            return Exact()
        if not multiplicative and self.bound > 1.0:
            unbounded: Component = self.clone(override={"bound": 1.0})
            return unbounded
        return self


plugin = LatentNeighbour
