"""Elementary operations on probability laws over the vocabulary, all in float32 or wider."""

from __future__ import annotations

import torch
from torch import Tensor

from paretoken.evaluators.kernels import fused


def draw(law: Tensor, uniform: Tensor) -> Tensor:
    """Sample by inversion: the first token whose cumulative mass exceeds uniform * total.

    law: [..., V], non-negative, need not be normalised. uniform: [...] in (0, 1).
    Returns [...] int64. The sum runs in float64, so that a token of probability zero, whose
    cumulative mass equals its predecessor's, is not chosen.
    """
    if fused(law.device, law.shape[-1]):
        from paretoken.evaluators.kernels import draw as kernels

        return kernels.draw(law, uniform)
    cumulative = law.cumsum(-1, dtype=torch.float64)
    threshold = uniform.to(torch.float64).unsqueeze(-1) * cumulative[..., -1:]
    index = torch.searchsorted(cumulative, threshold, right=True).squeeze(-1)
    return index.clamp_(max=law.shape[-1] - 1)


def draw_with_noise(law: Tensor, gumbel: Tensor) -> Tensor:
    """Sample by the Gumbel-max rule: argmax(log law + gumbel) over the last axis.

    law, gumbel: [..., V]. Returns [...] int64. Exact for any law; tokens of probability zero have
    log -inf and are never chosen.
    """
    return (law.log() + gumbel).argmax(-1)


def draw_at(laws: Tensor, noise: Tensor, place: Tensor) -> Tensor:
    """`draw_with_noise` for laws [B, W, V], with noise [B, P, V] read at place [B, W]: [B, W]."""
    if fused(laws.device, laws.shape[-1]):
        from paretoken.evaluators.kernels import draw as kernels

        return kernels.draw_at(laws, noise, place)
    index = place.unsqueeze(-1).expand(-1, -1, laws.shape[-1])
    return draw_with_noise(laws, noise.gather(1, index))


def normalised(mass: Tensor, otherwise: Tensor) -> Tensor:
    """`mass` divided by its sum, or `otherwise` where rounding left no mass at all.

    mass, otherwise: [..., V], non-negative.
    """
    if fused(mass.device, mass.shape[-1]):
        from paretoken.evaluators.kernels import draw as kernels

        return kernels.normalised(mass, otherwise)
    total = mass.sum(-1, keepdim=True)
    return torch.where(total > 0, mass / total.clamp_min(torch.finfo(mass.dtype).tiny), otherwise)


def one_hot(tokens: Tensor, vocabulary: int, dtype: torch.dtype) -> Tensor:
    """The law that is certain of `tokens`: [...] int64 -> [..., V]."""
    law = torch.zeros(*tokens.shape, vocabulary, dtype=dtype, device=tokens.device)
    return law.scatter_(-1, tokens.unsqueeze(-1), 1.0)


def at(laws: Tensor, slot: Tensor) -> Tensor:
    """The law of one slot per row: laws [B, D, V], slot [B] -> [B, V]."""
    return laws.gather(1, slot.view(-1, 1, 1).expand(-1, 1, laws.shape[-1])).squeeze(1)


def leading(kept: Tensor) -> Tensor:
    """How many of kept [B, D] are true before the first that is not: [B] int64."""
    if fused(kept.device):
        from paretoken.evaluators.kernels import rows as kernels

        return kernels.leading(kept)
    return kept.long().cumprod(-1).sum(-1)
