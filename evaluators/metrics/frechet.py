"""FID on the device that holds the features, in as many dimensions as the images can fill.

With centred features X [N, D] / sqrt(N - 1), the generated covariance is X^T X, and the trace of
the root of its product with the reference's S is that of the root of X S X^T: symmetric, of order
N, of full rank. torch-fidelity takes the eigenvalues of the unsymmetric product of order D instead,
whose zero eigenvalues come out as noise where N < D (1e-4 off at N = 500, D = 1280) and which costs
ten times as much. For N > D the same trace is that of the root of R X^T X R with R^2 = S.

Source: Heusel et al., "GANs trained by a two time-scale update rule" (arXiv:1706.08500).
"""

from __future__ import annotations

import torch
from torch import Tensor

from paretoken.evaluators.metrics.reference import Reference
from paretoken.spaces.errors import MeasurementFailed


def frechet_distance(pool: Tensor, reference: Reference) -> float:
    """FID of generated features against the reference, everything in fp64.

    pool: [N, D], N at least 2, on any device. Raises MeasurementFailed where the eigenvalues do not
    converge.
    """
    n, d = pool.shape
    seen = reference.on(pool.device)
    points = pool.double()
    centred = (points - points.mean(0)) / (n - 1) ** 0.5
    apart = points.mean(0) - seen.mean
    try:
        if n <= d:
            product = centred @ seen.covariance @ centred.T
        else:
            half = centred @ seen.root
            product = half.T @ half
        eigenvalues = torch.linalg.eigvalsh(product)
    except torch.linalg.LinAlgError as error:  # type: ignore[attr-defined]
        raise MeasurementFailed("linear-algebra", f"FID has no eigenvalues: {error}.") from error
    # Rounding leaves the eigenvalues that are zero a little below.
    shared = eigenvalues.clamp_min(0.0).sqrt().sum()
    return float(apart @ apart + centred.square().sum() + seen.covariance.trace() - 2 * shared)
