"""KID on the device that holds the features: torch-fidelity's numbers, without its hundred large
products of float64 on the CPU.

Source: Bińkowski et al., "Demystifying MMD GANs" (arXiv:1801.01401).
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import torch
from torch import Tensor


def kernel_distance(x: Tensor, y: Tensor, *, subsets: int, size: int, seed: int) -> float:
    """The unbiased squared MMD under the cubic kernel, averaged over random subsets.

    x, y: fp64 [N, D] and [M, D] on one device. size: rows of a subset, at most N and M. seed: of
    the subsets, drawn as torch-fidelity draws them.
    """
    found = torch.zeros((), dtype=x.dtype, device=x.device)
    for one, two in _drawn(len(x), len(y), subsets, size, seed).to(x.device).unbind():
        found += _squared_mmd(x[one], y[two])
    return float(found) / subsets


@lru_cache(maxsize=8)
def _drawn(n: int, m: int, subsets: int, size: int, seed: int) -> Tensor:
    """Which rows make the subsets, [subsets, 2, size]: the same for every candidate."""
    chance = np.random.RandomState(seed)
    drawn = [
        chance.choice(rows, size, replace=False) for _ in range(subsets) for rows in (n, m)
    ]  # fmt: skip
    return torch.from_numpy(np.stack(drawn)).view(subsets, 2, size)


def _squared_mmd(x: Tensor, y: Tensor) -> Tensor:
    own_x, own_y, across = _kernel(x, x), _kernel(y, y), _kernel(x, y)
    m = len(x)
    own = own_x.sum() - own_x.trace() + own_y.sum() - own_y.trace()
    return own / (m * (m - 1)) - 2 * across.mean()


def _kernel(x: Tensor, y: Tensor) -> Tensor:
    return (x @ y.T).div_(x.shape[1]).add_(1.0).pow_(3)
