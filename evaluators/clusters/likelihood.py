"""Bits of held-out images under both stages: log p of all clusters, and of all codes given them.

It is a proper likelihood where the second stage is masked, so it compares with that of plain
decoding on the same codes. Unmasked, mass is lost on codes outside of the cluster, and the bits are
an upper bound.
Source: the chain rule; Guo et al. (2025, arXiv:2503.16194) report none.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from paretoken.evaluators.clusters.partition import Partition
from paretoken.evaluators.models.llamagen import Transformer

_AT_ONCE = 64  # images


@dataclass(frozen=True)
class Bits:
    """Of each image, [n] float64."""

    coarse: Tensor
    fine: Tensor

    @property
    def total(self) -> Tensor:
        """Of clusters and codes together."""
        return self.coarse + self.fine


def bits(
    coarse: Transformer | None,
    fine: Transformer | None,
    partition: Partition,
    tokens: Tensor,
    classes: Tensor,
    device: torch.device,
) -> Bits:
    """Bits of codes [n, N] under classes [n]; a stage that is None takes none."""
    labels = torch.from_numpy(partition.labels)
    none = torch.zeros(len(tokens), dtype=torch.float64)
    of_clusters = of_codes = none
    if coarse is not None:
        of_clusters = _of(coarse.to(device).eval(), labels[tokens.long()], classes, device)
    if fine is not None:
        of_codes = _of(fine.to(device).eval(), tokens.long(), classes, device)
    return Bits(of_clusters, of_codes)


@torch.inference_mode()
def _of(model: Transformer, tokens: Tensor, classes: Tensor, device: torch.device) -> Tensor:
    """Bits [n] of tokens [n, N] under one model, in its own type."""
    found = []
    for part, of in zip(torch.split(tokens, _AT_ONCE), torch.split(classes, _AT_ONCE), strict=True):
        part = part.to(device)
        logits = model(part, of.to(device))
        nats = functional.cross_entropy(logits.mT, part, reduction="none")
        found.append(nats.double().sum(-1).cpu() / math.log(2.0))
    return torch.cat(found)
